//! Errors of the host, by name and by number.

use faultvisor_schema::{BlockFaultErrno, BlockFaultErrnoName};

use super::rule_error::RuleError;
use crate::block::model::errno::Errno;

/// The range of the kernel's error numbers (`MAX_ERRNO` in its `include/linux/err.h`).
const NUMBERS: std::ops::RangeInclusive<u16> = 1..=4095;

/// The error of a member `errno`.
///
/// # Errors
///
/// [`RuleError::Value`] for a number out of range.
pub fn errno_of(given: &BlockFaultErrno) -> Result<Errno, RuleError> {
    match given {
        BlockFaultErrno::Name(name) => Ok(Errno(number(*name))),
        BlockFaultErrno::Number(number) if NUMBERS.contains(number) => {
            Ok(Errno(i32::from(*number)))
        }
        BlockFaultErrno::Number(number) => {
            Err(RuleError::value("errno", number, "is not from 1 to 4095"))
        }
    }
}

/// The schema's names and their constants.
macro_rules! errnos {
    ($($name:ident => $constant:ident,)*) => {
        fn number(name: BlockFaultErrnoName) -> i32 {
            match name {
                $(BlockFaultErrnoName::$name => libc::$constant,)*
            }
        }

        #[cfg(test)]
        const TABLE: &[(BlockFaultErrnoName, &str)] =
            &[$((BlockFaultErrnoName::$name, stringify!($constant)),)*];
    };
}

errnos! {
    Eperm => EPERM,
    Enoent => ENOENT,
    Esrch => ESRCH,
    Eintr => EINTR,
    Eio => EIO,
    Enxio => ENXIO,
    E2big => E2BIG,
    Enoexec => ENOEXEC,
    Ebadf => EBADF,
    Echild => ECHILD,
    Eagain => EAGAIN,
    Enomem => ENOMEM,
    Eacces => EACCES,
    Efault => EFAULT,
    Enotblk => ENOTBLK,
    Ebusy => EBUSY,
    Eexist => EEXIST,
    Exdev => EXDEV,
    Enodev => ENODEV,
    Enotdir => ENOTDIR,
    Eisdir => EISDIR,
    Einval => EINVAL,
    Enfile => ENFILE,
    Emfile => EMFILE,
    Enotty => ENOTTY,
    Etxtbsy => ETXTBSY,
    Efbig => EFBIG,
    Enospc => ENOSPC,
    Espipe => ESPIPE,
    Erofs => EROFS,
    Emlink => EMLINK,
    Epipe => EPIPE,
    Edom => EDOM,
    Erange => ERANGE,
    Edeadlk => EDEADLK,
    Enametoolong => ENAMETOOLONG,
    Enolck => ENOLCK,
    Enosys => ENOSYS,
    Enotempty => ENOTEMPTY,
    Eloop => ELOOP,
    Enomsg => ENOMSG,
    Eidrm => EIDRM,
    Echrng => ECHRNG,
    El2nsync => EL2NSYNC,
    El3hlt => EL3HLT,
    El3rst => EL3RST,
    Elnrng => ELNRNG,
    Eunatch => EUNATCH,
    Enocsi => ENOCSI,
    El2hlt => EL2HLT,
    Ebade => EBADE,
    Ebadr => EBADR,
    Exfull => EXFULL,
    Enoano => ENOANO,
    Ebadrqc => EBADRQC,
    Ebadslt => EBADSLT,
    Ebfont => EBFONT,
    Enostr => ENOSTR,
    Enodata => ENODATA,
    Etime => ETIME,
    Enosr => ENOSR,
    Enonet => ENONET,
    Enopkg => ENOPKG,
    Eremote => EREMOTE,
    Enolink => ENOLINK,
    Eadv => EADV,
    Esrmnt => ESRMNT,
    Ecomm => ECOMM,
    Eproto => EPROTO,
    Emultihop => EMULTIHOP,
    Edotdot => EDOTDOT,
    Ebadmsg => EBADMSG,
    Eoverflow => EOVERFLOW,
    Enotuniq => ENOTUNIQ,
    Ebadfd => EBADFD,
    Eremchg => EREMCHG,
    Elibacc => ELIBACC,
    Elibbad => ELIBBAD,
    Elibscn => ELIBSCN,
    Elibmax => ELIBMAX,
    Elibexec => ELIBEXEC,
    Eilseq => EILSEQ,
    Erestart => ERESTART,
    Estrpipe => ESTRPIPE,
    Eusers => EUSERS,
    Enotsock => ENOTSOCK,
    Edestaddrreq => EDESTADDRREQ,
    Emsgsize => EMSGSIZE,
    Eprototype => EPROTOTYPE,
    Enoprotoopt => ENOPROTOOPT,
    Eprotonosupport => EPROTONOSUPPORT,
    Esocktnosupport => ESOCKTNOSUPPORT,
    Eopnotsupp => EOPNOTSUPP,
    Epfnosupport => EPFNOSUPPORT,
    Eafnosupport => EAFNOSUPPORT,
    Eaddrinuse => EADDRINUSE,
    Eaddrnotavail => EADDRNOTAVAIL,
    Enetdown => ENETDOWN,
    Enetunreach => ENETUNREACH,
    Enetreset => ENETRESET,
    Econnaborted => ECONNABORTED,
    Econnreset => ECONNRESET,
    Enobufs => ENOBUFS,
    Eisconn => EISCONN,
    Enotconn => ENOTCONN,
    Eshutdown => ESHUTDOWN,
    Etoomanyrefs => ETOOMANYREFS,
    Etimedout => ETIMEDOUT,
    Econnrefused => ECONNREFUSED,
    Ehostdown => EHOSTDOWN,
    Ehostunreach => EHOSTUNREACH,
    Ealready => EALREADY,
    Einprogress => EINPROGRESS,
    Estale => ESTALE,
    Euclean => EUCLEAN,
    Enotnam => ENOTNAM,
    Enavail => ENAVAIL,
    Eisnam => EISNAM,
    Eremoteio => EREMOTEIO,
    Edquot => EDQUOT,
    Enomedium => ENOMEDIUM,
    Emediumtype => EMEDIUMTYPE,
    Ecanceled => ECANCELED,
    Enokey => ENOKEY,
    Ekeyexpired => EKEYEXPIRED,
    Ekeyrevoked => EKEYREVOKED,
    Ekeyrejected => EKEYREJECTED,
    Eownerdead => EOWNERDEAD,
    Enotrecoverable => ENOTRECOVERABLE,
    Erfkill => ERFKILL,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_the_schema_is_the_constant_of_that_name() {
        assert_eq!(TABLE.len(), BlockFaultErrnoName::ALL.len());
        for name in BlockFaultErrnoName::ALL {
            let found = TABLE.iter().find(|(of, _)| of == name).unwrap();
            assert_eq!(found.1, name.name());
            let errno = errno_of(&BlockFaultErrno::Name(*name)).unwrap();
            assert_eq!(
                errno,
                errno_of(&BlockFaultErrno::Number(u16::try_from(errno.0).unwrap())).unwrap()
            );
        }
        let eio = errno_of(&BlockFaultErrno::Name(BlockFaultErrnoName::Eio));
        assert_eq!(eio.unwrap(), Errno::EIO);
    }

    #[test]
    fn a_number_that_no_error_can_have_is_refused() {
        for number in [0, 4096, u16::MAX] {
            let error = errno_of(&BlockFaultErrno::Number(number)).unwrap_err();
            let text = format!("'errno' is {number}, which is not from 1 to 4095");
            assert_eq!(error.to_string(), text);
        }
        assert_eq!(
            errno_of(&BlockFaultErrno::Number(4095)).unwrap(),
            Errno(4095)
        );
    }
}
