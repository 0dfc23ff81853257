//! Which backend a disk gets.

use std::io;
use std::sync::Arc;

use super::bench::file;
use crate::block::engine::uring::Uring;
use crate::block::host::image::{Image, ImageOptions};
use crate::block::model::backend::HostRequest;
use crate::block::model::request::{Operation, Token};
use crate::block::open::Aio;
use crate::thread::ThreadStart;

fn image() -> (tempfile::NamedTempFile, Image) {
    let file = file(512);
    let image = Image::open(file.path(), ImageOptions::default()).unwrap();
    (file, image)
}

fn no_ring(_: Arc<Image>) -> io::Result<Uring> {
    Err(io::Error::from_raw_os_error(libc::EPERM))
}

#[test]
fn without_io_uring_threads_do_the_work() {
    for aio in [Aio::Best, Aio::Threads] {
        let (_file, image) = image();
        let mut backend = aio
            .start_with(image, "test", &ThreadStart::default(), no_ring)
            .unwrap();
        let request = HostRequest::without_data(Operation::Flush);
        backend.submit(Token(1), request);
        backend.flush_submissions();
        let mut completed = Vec::new();
        while completed.is_empty() {
            completed = backend.completed();
            std::thread::yield_now();
        }
        assert_eq!(completed[0].result, Ok(()));
    }
}

#[test]
fn aio_io_uring_does_not_fall_back() {
    let (_file, image) = image();
    let error = Aio::IoUring
        .start_with(image, "test", &ThreadStart::default(), no_ring)
        .err();
    assert_eq!(
        error.unwrap().to_string(),
        "aio=io_uring: Operation not permitted"
    );
}

#[test]
fn aio_threads_makes_no_ring() {
    let (_file, image) = image();
    let ring = |_| -> io::Result<Uring> { panic!("a ring that nobody asked for") };
    assert!(
        Aio::Threads
            .start_with(image, "test", &ThreadStart::default(), ring)
            .is_ok()
    );
}
