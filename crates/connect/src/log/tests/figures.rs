//! What the log does in a second, and what an acknowledgement takes.

use super::*;
use ouzel_core::clock::Stopwatch;
use std::sync::Mutex;

/// `cargo test --release -p ouzel-connect log::tests::figures -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn of_the_log() {
    let folder = TempDir::new_in(std::env::var("OUZEL_MEASURE_IN").unwrap_or_else(|_| ".".into())).expect("a folder");
    let block: Vec<String> = (0..1200).map(|i| format!("{i:0>400}")).collect();
    let block = slice(0, &block);
    let (mut appender, _) = open(folder.path(), &Settings::default(), writer(7, 1), None);
    for (what, every) in [("synced at the end", usize::MAX), ("synced every 64 MB", 140)] {
        let watch = Stopwatch::start();
        let mut bytes = 0;
        for i in 1..4000 {
            append(&mut appender, std::slice::from_ref(&block), i as u64).expect("appends");
            bytes += block.data.len();
            if i % every == 0 {
                appender.sync().wait(appender.end().position).expect("syncs");
            }
        }
        let written = watch.seconds();
        appender.sync().wait(appender.end().position).expect("syncs");
        let mb = bytes as f64 / 1e6;
        println!(
            "append, {what}: {:.0} MB/s before and {:.0} MB/s with the last sync, {mb:.0} MB",
            mb / written,
            mb / watch.seconds()
        );
    }
    let watch = Stopwatch::start();
    let mut reader = Reader::new(folder.path(), None);
    let mut bytes = 0;
    while let Some(piece) = reader.next(512 << 10).expect("reads") {
        bytes += piece.data.len();
    }
    println!("read back: {:.0} MB/s", bytes as f64 / 1e6 / watch.seconds());
    // The disk by itself.
    let raw = fs::File::create(folder.path().join("raw")).expect("a file");
    let watch = Stopwatch::start();
    for _ in 0..2000 {
        std::io::Write::write_all(&mut &raw, &block.data).expect("writes");
    }
    raw.sync_data().expect("syncs");
    println!("the disk itself, write and one sync: {:.0} MB/s", 2000.0 * block.data.len() as f64 / 1e6 / watch.seconds());
    let one = slice(0, &["x".repeat(400)]);
    let median = |mut all: Vec<f64>| {
        all.sort_by(f64::total_cmp);
        (all[all.len() / 2] * 1e3, all[all.len() * 99 / 100] * 1e3)
    };
    let mut alone = Vec::new();
    for i in 0..300 {
        std::io::Write::write_all(&mut &raw, &one.data).expect("writes");
        let watch = Stopwatch::start();
        raw.sync_data().expect("syncs");
        alone.push(watch.seconds());
        let _ = i;
    }
    let alone = median(alone);
    println!("one fsync of the disk: p50 {:.2} ms, p99 {:.2} ms", alone.0, alone.1);
    for threads in [1, 4, 16, 64] {
        let sync = appender.sync().clone();
        let shared = Mutex::new((&mut appender, 0u64));
        let watch = Stopwatch::start();
        let took: Vec<f64> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads)
                .map(|_| {
                    scope.spawn(|| {
                        let mut took = Vec::new();
                        for _ in 0..200 {
                            let watch = Stopwatch::start();
                            let end = {
                                let mut shared = shared.lock().expect("sound");
                                shared.1 += 1;
                                let upto = shared.1;
                                append(shared.0, std::slice::from_ref(&one), upto).expect("appends")
                            };
                            sync.wait(end).expect("syncs");
                            took.push(watch.seconds());
                        }
                        took
                    })
                })
                .collect();
            workers.into_iter().flat_map(|w| w.join().expect("works")).collect()
        });
        let (seconds, all) = (watch.seconds(), took.len());
        let took = median(took);
        println!(
            "{threads} at once, one record each, acknowledged: p50 {:.2} ms ({:.1} fsyncs), p99 {:.2} ms; {:.0}/s",
            took.0,
            took.0 / alone.0,
            took.1,
            all as f64 / seconds
        );
    }
}
