//! libqmp for C.
