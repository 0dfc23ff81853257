//! Round trips of values, and values that only one side can have.

#![allow(
    unsafe_code,
    reason = "what was given away is taken back here as C would do it"
)]

use std::ffi::CString;
use std::fmt::Debug;

use faultvisor_monitor::{ListenAddress, Machine, Monitor, MonitorHandle, Reply};
use faultvisor_schema::{
    BlockFaultActionType, BlockFaultDelay, BlockFaultErrno, BlockFaultErrnoName, BlockFaultError,
    BlockFaultOperation, BlockFaultPercentile, BlockFaultPowerCut, BlockFaultRule,
    BlockFaultRuleBranch, BlockFaultTorn, BlockFaultTornKeep, CommandError, Event, ImageInfo,
    MachineCommand, MachineReturn, Null, Path, SchemaInfoObjectMember,
};
use libqmp::{BlockIoError, RawEvent, Session};
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::arena::{Arena, free_answer, give_answer};
use crate::boundary::{attempt, guard};
use crate::call::{NoArguments, text, value};
use crate::conversion::{FromC, ToC};
use crate::error::{ErrorSlot, Failure, QmpError, libqmp_error_free};
use crate::event::EventObject;
use crate::plain::read_branch;
use crate::pointer::{Handle, Out, Owned, Text};
use crate::session::{QmpSession, libqmp_session_new_unix};

/// A value after a round trip through C.
fn there_and_back<T: FromC>(value: &T) -> T {
    let arena = Arena::default();
    let c = value.to_c(&arena);
    T::from_c(&c, &Path::ROOT.member("value")).unwrap()
}

fn assert_same<T: FromC + Debug + PartialEq>(value: &T) {
    assert_eq!(there_and_back(value), *value);
}

fn words() -> impl Strategy<Value = String> {
    "[^\0]{0,12}"
}

fn errno() -> impl Strategy<Value = BlockFaultErrno> {
    prop_oneof![
        proptest::sample::select(BlockFaultErrnoName::ALL).prop_map(BlockFaultErrno::Name),
        any::<u16>().prop_map(BlockFaultErrno::Number),
    ]
}

prop_compose! {
    fn delay()(
        microseconds in any::<Option<u64>>(),
        percentiles in proptest::option::of(proptest::collection::vec(
            (-1e300..1e300f64, any::<u64>()), 0..5,
        )),
    ) -> BlockFaultDelay {
        let point = |(percentile, microseconds)| BlockFaultPercentile { percentile, microseconds };
        let percentiles = percentiles.map(|points| points.into_iter().map(point).collect());
        BlockFaultDelay { microseconds, percentiles, ..BlockFaultDelay::new() }
    }
}

fn branch() -> impl Strategy<Value = BlockFaultRuleBranch> {
    let torn = (any::<Option<u64>>(), proptest::option::of(errno()));
    prop_oneof![
        Just(BlockFaultRuleBranch::Hang),
        Just(BlockFaultRuleBranch::Stop),
        (errno(), any::<Option<bool>>()).prop_map(|(errno, after)| {
            BlockFaultRuleBranch::Error(BlockFaultError { errno, after })
        }),
        delay().prop_map(BlockFaultRuleBranch::Delay),
        torn.prop_map(
            |(keep_sectors, errno)| BlockFaultRuleBranch::Torn(BlockFaultTorn {
                keep_sectors,
                errno,
                ..BlockFaultTorn::new(BlockFaultTornKeep::Random)
            })
        ),
    ]
}

prop_compose! {
    fn rule()(
        id in proptest::option::of(words()),
        device in words(),
        operations in proptest::option::of(proptest::collection::vec(
            proptest::sample::select(BlockFaultOperation::ALL), 0..6,
        )),
        sector in any::<Option<u64>>(),
        probability in proptest::option::of(0.0..1.0f64),
        action in branch(),
    ) -> BlockFaultRule {
        BlockFaultRule { id, operations, sector, probability, ..BlockFaultRule::new(device, action) }
    }
}

fn image(depth: u32) -> ImageInfo {
    let backing = depth.checked_sub(1).map(image).map(Box::new);
    ImageInfo {
        backing_image: backing,
        actual_size: Some(i64::from(depth)),
        ..ImageInfo::new(format!("{depth}.img"), "raw".to_owned(), i64::MIN)
    }
}

/// Memory that C may pass: often a valid value, otherwise any bytes.
fn memory() -> impl Strategy<Value = [u64; 8]> {
    let pairs = (0_u64..4, 0_u64..200).prop_map(|(low, high)| low | high << 32);
    let often_right = prop_oneof![0_u64..3, pairs, any::<u64>()];
    proptest::array::uniform8(often_right)
}

/// Reads a type without pointers from any memory. A valid value survives a round trip.
fn any_memory<T: FromC + Debug + PartialEq>(memory: &[u64; 8]) {
    let c = read_branch::<_, T::C>(memory);
    if let Ok(value) = T::from_c(c, &Path::ROOT.member("value")) {
        assert_same(&value);
    }
}

proptest! {
    #[test]
    fn rules_survive_a_round_trip_through_c(rules in proptest::collection::vec(rule(), 0..4)) {
        assert_same(&rules);
    }

    #[test]
    fn any_bytes_are_a_value_or_refused(memory in memory()) {
        // None of them contains a pointer, which would have to be valid.
        any_memory::<BlockFaultErrno>(&memory);
        any_memory::<BlockFaultPowerCut>(&memory);
        any_memory::<BlockFaultError>(&memory);
        any_memory::<BlockFaultPercentile>(&memory);
        any_memory::<BlockFaultActionType>(&memory);
    }

    #[test]
    fn any_string_survives_a_round_trip(text in "\\PC{0,40}", length in 0usize..5000) {
        assert_same(&text);
        assert_same(&Some("x".repeat(length)));
    }
}

#[test]
fn a_recursive_value_survives_a_round_trip() {
    assert_same(&image(100));
    assert_same(&Some(Box::new(image(1))));
    assert_same(&Box::new(image(0)));
    assert_same(&None::<Box<ImageInfo>>);
}

#[test]
fn any_json_survives_a_round_trip() {
    for default in [
        None,
        Some(Value::Null),
        Some(json!({"a": [1, -2.5, "\u{0}", {"b": true}]})),
    ] {
        assert_same(&SchemaInfoObjectMember {
            default,
            ..SchemaInfoObjectMember::new("a".to_owned(), "b".to_owned())
        });
    }
    assert_same(&vec![json!(u64::MAX), json!("\u{1f4be}")]);
}

#[test]
fn null_is_null_whatever_its_byte() {
    assert_same(&Null);
    assert_same(&vec![Null, Null]);
}

#[test]
fn a_nul_in_a_string_is_replaced_and_the_rest_kept() {
    let arena = Arena::default();
    let text = "a\0b\0".to_owned().to_c(&arena);
    assert_eq!(text.get().unwrap().to_str(), Ok("a\u{fffd}b\u{fffd}"));
}

#[test]
fn an_answer_is_valid_until_it_is_freed() {
    let text = "x".repeat(10_000);
    let answer = give_answer(|arena| vec![text.clone(), text.clone()].to_c(arena));
    // SAFETY: given a line above; freeing NULL has no effect.
    unsafe {
        free_answer(answer);
        free_answer(Owned::<crate::pointer::List<Text>>::NULL);
    }
}

#[test]
fn a_panic_becomes_an_error() {
    assert_eq!(guard(7, || panic!("a mistake, on purpose")), 7);
    let mut place = Owned::NULL;
    let slot = ErrorSlot::at(&mut place);
    let done: u32 = attempt(&slot, 8, || -> Result<u32, Failure> {
        panic!("a mistake, on purpose")
    });
    assert_eq!(done, 8);
    // SAFETY: the slot's content is taken once, and given away again before it is freed.
    unsafe {
        let error = place.take().unwrap();
        assert!(format!("{error:?}").contains("Internal"), "{error:?}");
        libqmp_error_free(Owned::give(error));
    }
}

/// A session whose server is in this process.
fn session() -> (MonitorHandle, TempDir, Box<QmpSession>) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("qmp.sock");
    let address: ListenAddress = format!("unix:{}", path.display()).parse().unwrap();
    let monitor = Monitor::builder().bind(&[address]).unwrap();
    let server = monitor.start(Box::new(NoMachine)).unwrap();
    let mut failure = Owned::NULL;
    let path = CString::new(path.to_str().unwrap()).unwrap();
    let session = libqmp_session_new_unix(Text::new(&path), ErrorSlot::at(&mut failure));
    // SAFETY: given a line above.
    (server, directory, unsafe { session.take() }.unwrap())
}

struct NoMachine;

impl Machine for NoMachine {
    fn submit(&self, _: MachineCommand, reply: Reply) {
        reply.send(Err(CommandError::generic("There is no machine")));
    }

    fn answer(&self, _: &MachineCommand) -> Option<MachineReturn> {
        None
    }

    fn has_device(&self, _: &str) -> bool {
        false
    }

    fn is_current(&self, _: &Event) -> bool {
        false
    }
}

#[test]
fn a_command_may_answer_with_a_number_or_a_string() {
    let (_server, _directory, session) = session();
    let session = Handle::new(session.as_ref());
    let mut failure = Owned::NULL;
    let mut major = 0_i64;
    let ask = |session: &Session, ()| Ok(session.query_version()?.qemu.major);
    let error = ErrorSlot::at(&mut failure);
    assert!(value(
        session,
        NoArguments,
        Out::new(&mut major),
        error,
        ask
    ));
    assert!(major > 0);
    let ask = |_: &Session, ()| Ok("a\0b");
    let answer = text(session, NoArguments, ErrorSlot::at(&mut failure), ask);
    // SAFETY: given a line above.
    let answer = unsafe { answer.take_text() }.unwrap();
    assert_eq!(answer.to_str(), Ok("a\u{fffd}b"));
    // Without a place for the number nothing is executed.
    let never = |_: &Session, ()| -> Result<i64, libqmp::Error> { panic!("executed") };
    let error = ErrorSlot::at(&mut failure);
    assert!(!value(session, NoArguments, Out::NULL, error, never));
    // SAFETY: the slot's content is taken once.
    let failure = unsafe { failure.take() }.unwrap();
    assert!(
        format!("{failure:?}").contains("`value` is NULL"),
        "{failure:?}"
    );
}

#[test]
fn every_value_of_an_enumeration_has_its_own_number() {
    for (index, action) in BlockFaultActionType::ALL.iter().enumerate() {
        assert_same(action);
        assert_eq!(*action as usize, index);
    }
}

#[test]
fn shared_types_are_send_and_sync() {
    fn is_shared<T: Send + Sync>() {}
    is_shared::<QmpSession>();
    is_shared::<EventObject<BlockIoError>>();
    is_shared::<EventObject<RawEvent>>();
    is_shared::<QmpError>();
}
