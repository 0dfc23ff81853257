//! In front of real images.

use std::sync::Arc;

use crate::block::format::probe_guard::Probed;
use crate::block::host::direct_io::CacheMode;
use crate::block::host::image::{Image, ImageOptions};
use crate::block::model::errno::Errno;
use crate::block::model::power_cut::{PowerCut, Survival};
use crate::block::model::request::Operation;
use crate::block::tests::bench::{Bench, Kind, file, read, write};
use crate::block::volatile::VolatileCache;

fn open(path: &std::path::Path, cache: CacheMode) -> Arc<Image> {
    let options = ImageOptions {
        cache,
        ..ImageOptions::default()
    };
    Arc::new(Image::open(path, options).unwrap())
}

fn each(mut test: impl FnMut(Kind, CacheMode)) {
    for kind in [Kind::Threads, Kind::IoUring] {
        for cache in [CacheMode::Writeback, CacheMode::None] {
            test(kind, cache);
        }
    }
}

fn bench(kind: Kind, image: Arc<Image>, capacity: u64) -> Bench {
    let cache = VolatileCache::new(kind.start(Arc::clone(&image)), capacity).unwrap();
    Bench::with(Box::new(cache), image)
}

#[test]
fn many_requests_at_once_reach_the_image_in_their_order() {
    each(|kind, cache| {
        let image = file(64 << 10);
        let mut bench = bench(kind, open(image.path(), cache), 32 << 10);
        let mut model = vec![0; 64 << 10];
        for request in 0..1000u64 {
            let byte = u8::try_from(request % 251).unwrap() + 1;
            let length = u32::try_from(request % 7 + 1).unwrap() * 512;
            let place = request * 37 % 119 * 512;
            bench.put(request * 4096, &vec![byte; 4096]);
            // Some lie in memory where no direct I/O can take them from.
            let address = request * 4096;
            bench.submit(
                request,
                write(place),
                &[(address, 100), (address + 1, length - 100)],
            );
            let place = usize::try_from(place).unwrap();
            model[place..place + length as usize].fill(byte);
            if request % 100 == 50 {
                bench.backend.flush_submissions();
            }
        }
        assert!(bench.wait(1000).values().all(Result::is_ok));
        assert_eq!(bench.perform(read(0), &[(1 << 20, 64 << 10)]), Ok(()));
        assert!(bench.get(1 << 20, 64 << 10) == model);
        assert_eq!(bench.perform(Operation::Flush, &[]), Ok(()));
        assert!(std::fs::read(image.path()).unwrap() == model);
        assert!(!bench.is_readable(std::time::Duration::ZERO));
    });
}

#[test]
fn a_tear_inside_a_sector_is_one_on_every_image() {
    let mut found = std::collections::BTreeSet::new();
    each(|kind, cache| {
        let image = file(0);
        std::fs::write(image.path(), [1; 8192]).unwrap();
        let mut bench = bench(kind, open(image.path(), cache), 1 << 20);
        bench.put(0, &[2; 2048]);
        assert_eq!(bench.perform(write(512), &[(0, 2048)]), Ok(()));
        bench.put(0, &[3; 4096]);
        assert_eq!(bench.perform(write(1024), &[(0, 4096)]), Ok(()));
        let cut = PowerCut {
            survival: Survival::Random,
            seed: 5,
            tear_bytes: 16,
        };
        let loss = bench.backend.power_cut(&cut).unwrap();
        let bytes = std::fs::read(image.path()).unwrap();
        assert_eq!(bytes[..512], [1; 512]);
        let torn = bytes[1024..].iter().position(|byte| *byte != 3).unwrap();
        assert!(torn % 16 == 0 && torn % 512 != 0, "{torn}");
        found.insert((loss.writes, loss.sectors, bytes));
    });
    assert_eq!(found.len(), 1);
}

#[test]
fn a_raw_header_of_another_format_is_refused_before_the_cache() {
    let file = file(1 << 20);
    let image = open(file.path(), CacheMode::Writeback);
    let probed = Probed::new(Kind::Threads.start(Arc::clone(&image)));
    let cache = VolatileCache::new(Box::new(probed), 1 << 20).unwrap();
    let mut bench = Bench::with(Box::new(Probed::new(Box::new(cache))), image);
    bench.put(0, b"QFI\xfb\0\0\0\x03");
    let refused = Err(Errno(libc::EPERM));
    assert_eq!(bench.perform(write(0), &[(0, 4096)]), refused);
    bench.put(0, b"QFI\xfb\0\0\0\0");
    assert_eq!(bench.perform(write(0), &[(0, 4096)]), Ok(()));
    let cut = PowerCut {
        survival: Survival::None,
        seed: 1,
        tear_bytes: 512,
    };
    assert_eq!(bench.backend.power_cut(&cut).unwrap().writes, 1);
    assert_eq!(bench.perform(Operation::Flush, &[]), Ok(()));
    assert!(std::fs::read(file.path()).unwrap() == vec![0; 1 << 20]);
}
