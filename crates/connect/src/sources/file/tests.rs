use super::*;
use ouzel_core::limits::{CHUNK_BYTES_MAX, KEPT_RAW_BYTES_MAX, RECORD_BYTES_MAX};
use ouzel_core::{Chunk, Framing, Kind, yaml};
use std::io::{self, Read, Write};
use std::sync::Arc;

/// One record a line, as most codecs have it.
struct Lines;
impl Framing for Lines {
    fn split(&mut self, data: &[u8]) -> usize {
        memchr::memrchr(b'\n', data).map_or(0, |n| n + 1)
    }
}

/// The first line is a header.
struct Headed;
impl Framing for Headed {
    fn split(&mut self, data: &[u8]) -> usize {
        Lines.split(data)
    }
    fn header(&mut self, data: &[u8], at_end: bool) -> Option<usize> {
        memchr::memchr(b'\n', data).map(|n| n + 1).or(at_end.then_some(data.len()))
    }
}

fn lines() -> NewFraming {
    Box::new(|| Box::new(Lines))
}
fn headed() -> NewFraming {
    Box::new(|| Box::new(Headed))
}

fn config(paths: &[&str]) -> FileSource {
    let path = OneOrMany(paths.iter().map(|path| Spanned::nowhere(path.to_string())).collect());
    FileSource { path, compression: Compression::Auto }
}

fn drain(source: &mut dyn Source) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    while let Some(chunk) = source.next().expect("readable") {
        chunks.push(chunk);
    }
    assert!(source.next().expect("at the end").is_none(), "the end is for good");
    chunks
}

fn text(chunks: &[Chunk]) -> Vec<u8> {
    chunks.iter().filter(|chunk| chunk.fault.is_none()).flat_map(|chunk| chunk.data.to_vec()).collect()
}

/// Writes files, reads them with `paths`.
fn read(files: &[(&str, &[u8])], paths: &[&str], framing: NewFraming) -> Vec<Chunk> {
    let dir = project(files);
    let mut source = config(paths).open(dir.path(), framing).expect("opens");
    drain(source.as_mut())
}

fn project(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    for (name, content) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().expect("has one")).expect("a directory");
        fs::write(path, content).expect("a file");
    }
    dir
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(text).expect("memory");
    out.finish().expect("memory")
}
fn zstd_(text: &[u8]) -> Vec<u8> {
    // Without its checksum damage goes unnoticed.
    let mut out = zstd::Encoder::new(Vec::new(), 1).expect("memory");
    out.include_checksum(true).expect("supported");
    out.write_all(text).expect("memory");
    out.finish().expect("memory")
}
fn xz(text: &[u8]) -> Vec<u8> {
    let mut out = liblzma::write::XzEncoder::new(Vec::new(), 1);
    out.write_all(text).expect("memory");
    out.finish().expect("memory")
}
fn bzip2_(text: &[u8]) -> Vec<u8> {
    let mut out = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    out.write_all(text).expect("memory");
    out.finish().expect("memory")
}
type Compress = fn(&[u8]) -> Vec<u8>;
const COMPRESSIONS: [(&str, Compress); 4] = [("gzip", gzip), ("zstd", zstd_), ("xz", xz), ("bzip2", bzip2_)];

/// About `n` lines of several lengths that do not compress well.
fn sample(n: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let mut x = 1u64;
    for i in 0..n {
        x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        out.extend_from_slice(format!("{i}:{x:x}{}\n", "y".repeat((x >> 58) as usize)).as_bytes());
    }
    out
}

#[test]
fn example_and_mistakes() {
    let parse = |text: &str| {
        let mut report = Report::new();
        let file = report.file("p.yaml", text);
        let config: Option<crate::sources::SourceConfig> =
            yaml::parse(&mut report, file, text, &|_| None).and_then(|node| yaml::decode(&mut report, &node));
        config.inspect(|config| config.validate(&mut report));
        report.render(|_, word| word.to_string())
    };
    for good in ["file: { path: \"logs/*.log.gz\" }", "file: { path: [a, b], compression: zstd }", "file: { path: \"-\" }"] {
        assert_eq!(parse(good), "", "{good}");
    }
    for (bad, expected) in [
        ("file: { path: [a, \"-\"] }", "p.yaml:1:19: error: standard input cannot be read together"),
        ("file: { path: \"a[\" }", "p.yaml:1:15: error: invalid glob"),
        ("file: { path: [] }", "no path"),
        ("file: { path: \"\" }", "an empty path"),
        ("file: { path: a, compression: lz4 }", "unknown kind `lz4`"),
    ] {
        let problems = parse(bad);
        assert!(problems.contains(expected), "{bad}: {problems}");
    }
}

#[test]
fn files_in_order_of_their_paths_are_one_log() {
    let files: [(&str, &[u8]); 5] =
        [("b/1.log", b"3\n"), ("a/10.log", b"1\n"), ("a/9.log", b"2"), ("a/.hidden.log", b"no\n"), ("a/other", b"no\n")];
    let chunks = read(&files, &["b/1.log", "*/*.log"], lines());
    assert_eq!(text(&chunks), b"1\n23\n");
    let places: Vec<_> = chunks.iter().map(|chunk| (&*chunk.origin.name, chunk.origin.position, chunk.partition)).collect();
    assert_eq!(places, [("a/10.log", 0, 0), ("a/9.log", 0, 0), ("b/1.log", 0, 0)]);
}

#[test]
fn a_name_with_glob_characters_is_taken_literally_if_it_exists() {
    assert_eq!(text(&read(&[("a[1].log", b"x\n"), ("a1.log", b"no\n")], &["a[1].log"], lines())), b"x\n");
}

#[test]
fn what_cannot_be_opened_is_named() {
    let dir = project(&[("logs/old/a.log", b"1\n"), ("b.log", b"2\n")]);
    let open = |path: &str| config(&["b.log", path]).open(dir.path(), lines()).map(drop).expect_err(path);
    for (path, kind, expected) in [
        ("none/*.log", Kind::Config, "`none/*.log` matches no file"),
        ("none.log", Kind::Config, "`none.log` matches no file"),
        ("logs/old/", Kind::Config, "`logs/old/` is a directory: name its files, for example `logs/old/*`"),
        ("logs/*", Kind::Config, "`logs/*` matches only directories"),
    ] {
        let error = open(path);
        assert_eq!(error.kind, kind, "{path}");
        assert!(error.to_string().contains(expected), "{path}: {error}");
    }
}

#[cfg(unix)]
#[test]
fn an_unreadable_file_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let dir = project(&[("a.log", b"1\n"), ("shut/b.log", b"1\n")]);
    fs::set_permissions(dir.path().join("a.log"), fs::Permissions::from_mode(0o000)).expect("own file");
    fs::set_permissions(dir.path().join("shut"), fs::Permissions::from_mode(0o000)).expect("own directory");
    if fs::read(dir.path().join("a.log")).is_ok() {
        println!("SKIPPED an_unreadable_file_is_named: this user may read everything");
    } else {
        for path in ["a.log", "shut/b.log", "shut/*"] {
            let error = config(&[path]).open(dir.path(), lines()).map(drop).expect_err(path);
            assert_eq!(error.kind, Kind::Unavailable, "{error}");
            assert!(error.to_string().contains(path.trim_end_matches("/*")), "{error}");
        }
    }
    fs::set_permissions(dir.path().join("shut"), fs::Permissions::from_mode(0o700)).expect("own directory");
}

#[test]
fn a_file_that_vanishes_is_unavailable_until_it_is_back() {
    let dir = project(&[("a.log", b"1\n"), ("b.log", b"2\n")]);
    let mut source = config(&["*.log"]).open(dir.path(), lines()).expect("opens");
    fs::remove_file(dir.path().join("b.log")).expect("own file");
    assert_eq!(&*source.next().expect("readable").expect("a chunk").data, b"1\n");
    for _ in 0..2 {
        let error = source.next().expect_err("gone");
        assert_eq!(error.kind, Kind::Unavailable);
        assert!(error.to_string().contains("b.log"), "{error}");
    }
    fs::write(dir.path().join("b.log"), b"3\n").expect("own file");
    assert_eq!(text(&drain(source.as_mut())), b"3\n");
}

#[test]
fn every_compression_whatever_the_name_in_several_members() {
    let sample = sample(50_000);
    let (first, second) = sample.split_at(sample.len() / 3);
    for (name, compress) in COMPRESSIONS {
        let members = [compress(first), compress(second)].concat();
        let chunks = read(&[("a.log", &members)], &["a.log"], lines());
        assert!(text(&chunks) == sample, "{name}");
        assert!(chunks.iter().all(|chunk| chunk.fault.is_none() && chunk.data.len() <= CHUNK_BYTES_MAX), "{name}");
        assert!(text(&read(&[("a", &compress(b""))], &["a"], lines())).is_empty(), "{name}");
    }
}

#[test]
fn chunks_are_whole_records_and_know_their_place() {
    let sample = sample(60_000);
    let chunks = read(&[("a", &sample)], &["a"], lines());
    assert!(chunks.len() > 3);
    let mut position = 0;
    for chunk in &chunks {
        assert_eq!(chunk.origin.position, position);
        assert!(chunk.data.ends_with(b"\n") && chunk.data.len() <= CHUNK_BYTES_MAX);
        position += chunk.data.len() as u64;
    }
    assert!(text(&chunks) == sample);
}

#[test]
fn small_things() {
    for (content, expected) in [
        (&b""[..], &b""[..]),
        (b"\n", b"\n"),
        (b"a", b"a"),
        (b"a\nb", b"a\nb"),
        (b"\xef\xbb\xbfa\n", b"a\n"),
        (b"\xef\xbb\xbf", b""),
        (b"\xef\xbb", b"\xef\xbb"),
        (b"B", b"B"),
        (b"\x1f", b"\x1f"),
        (b"\0\0\n\xff", b"\0\0\n\xff"),
    ] {
        let chunks = read(&[("a", content)], &["a"], lines());
        assert_eq!(text(&chunks), expected, "{content:?}");
        assert!(chunks.iter().all(|chunk| !chunk.data.is_empty() && chunk.fault.is_none()), "{content:?}");
    }
}

#[test]
fn each_file_has_its_header() {
    let chunks = read(&[("1", b"\xef\xbb\xbfa,b\r\n1,2\n"), ("2", b"c\n3"), ("3", b"d"), ("4", b"")], &["*"], headed());
    let seen: Vec<_> = chunks.iter().map(|chunk| (chunk.origin.header.as_deref(), chunk.origin.position, &*chunk.data)).collect();
    assert_eq!(seen, [(Some(&b"a,b"[..]), 8, &b"1,2\n"[..]), (Some(b"c"), 2, b"3")]);
}

#[test]
fn a_header_without_end_passes_over_its_file_only() {
    let long = vec![b'h'; RECORD_BYTES_MAX + 10];
    let chunks = read(&[("1", &long), ("2", b"c\n3\n")], &["*"], headed());
    assert!(chunks[0].fault.as_ref().is_some_and(|fault| fault.contains("header longer than 16 MiB")));
    assert_eq!((chunks.len(), &*chunks[1].data), (2, &b"3\n"[..]));
}

#[test]
fn a_record_may_be_as_long_as_the_limit_and_no_longer() {
    for (over, faults) in [(0, 0), (1, 1)] {
        for end in [&b"\nnext\n"[..], b""] {
            let mut content = b"first\n".to_vec();
            content.resize(6 + RECORD_BYTES_MAX + over, b'x');
            content.extend_from_slice(end);
            let chunks = read(&[("a", &content)], &["a"], lines());
            assert_eq!(chunks.iter().filter(|chunk| chunk.fault.is_some()).count(), faults);
            let rest = if end.is_empty() { &b"first\n"[..] } else { b"first\nnext\n" };
            assert!(text(&chunks) == if faults == 0 { &content[..] } else { rest });
        }
    }
}

#[test]
fn a_line_of_100_mb_is_one_fault_in_bounded_memory() {
    let child = std::process::Command::new(std::env::current_exe().expect("running"))
        .args(["--exact", "--ignored", "--nocapture", "sources::file::tests::reads_a_line_of_100_mb"])
        .output()
        .expect("runs");
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
}

#[test]
#[ignore = "run in a process of its own by the test above"]
fn reads_a_line_of_100_mb() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut file =
        flate2::write::GzEncoder::new(fs::File::create(dir.path().join("a")).expect("a file"), flate2::Compression::fast());
    file.write_all(b"before\n").expect("disk");
    for _ in 0..100 {
        file.write_all(&[b'x'; 1_000_000]).expect("disk");
    }
    file.write_all(b"\nafter\n").expect("disk");
    file.finish().expect("disk");
    let mut source = config(&["a"]).open(dir.path(), lines()).expect("opens");
    let chunks = drain(source.as_mut());
    let seen: Vec<_> = chunks.iter().map(|chunk| (chunk.data.len(), chunk.origin.position, chunk.fault.is_some())).collect();
    assert_eq!(seen, [(7, 0, false), (KEPT_RAW_BYTES_MAX, 7, true), (6, 100_000_008, false)]);
    assert!(chunks[1].fault.as_ref().is_some_and(|fault| fault.starts_with("record longer than 16 MiB (")));
    if let Ok(status) = fs::read_to_string("/proc/self/status") {
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux has it");
        let kib: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
        assert!(kib < 60_000, "peak memory {kib} KiB");
    }
}

#[test]
fn corrupt_compression_gives_what_was_before_and_one_fault() {
    let sample = sample(100_000);
    for (name, compress) in COMPRESSIONS {
        let whole = compress(&sample);
        let mut damaged = whole.clone();
        let middle = whole.len() / 2;
        damaged[middle..middle + 64].fill(0x55);
        for (what, bytes) in [("damaged", &damaged[..]), ("cut", &whole[..middle])] {
            let chunks = read(&[("a", bytes), ("b", b"next\n")], &["*"], lines());
            let faults: Vec<&Chunk> = chunks.iter().filter(|chunk| chunk.fault.is_some()).collect();
            assert_eq!(faults.len(), 1, "{name} {what}");
            let fault = faults[0].fault.as_ref().expect("filtered");
            assert!(fault.contains(&format!("corrupt {name} in `a` after")), "{name} {what}: {fault}");
            let good = text(&chunks);
            let good = good.strip_suffix(b"next\n").expect("the next file is read");
            assert!(good.ends_with(b"\n") || good.is_empty(), "{name} {what}: whole records only");
            // Garbage may come out of a damaged stream before it is noticed.
            let same = good.iter().zip(&sample).take_while(|(a, b)| a == b).count();
            let enough = if name == "bzip2" { sample.len() / 5 } else { sample.len() / 3 };
            assert!(same > enough, "{name} {what}: {same} of {}", sample.len());
            println!("{name} {what}: {same} of {} bytes, {fault}", sample.len());
        }
    }
}

#[test]
fn text_that_is_said_to_be_gzip_is_a_fault() {
    let dir = project(&[("a", b"plain\n")]);
    let source = FileSource { compression: Compression::Gzip, ..config(&["a"]) };
    let chunks = drain(source.open(dir.path(), lines()).expect("opens").as_mut());
    assert!(matches!(chunks.as_slice(), [chunk] if chunk.fault.as_ref().is_some_and(|fault| fault.contains("corrupt gzip"))));
}

#[test]
fn progress_is_in_compressed_bytes() {
    let packed = gzip(&sample(100_000));
    let dir = project(&[("a", &packed), ("b", b"12345\n")]);
    let mut source = config(&["*"]).open(dir.path(), lines()).expect("opens");
    let total = packed.len() as u64 + 6;
    assert_eq!(source.progress(), Some((total, 0)));
    source.next().expect("readable");
    let (_, read) = source.progress().expect("known");
    assert!(read > 0 && read < total, "{read}");
    drain(source.as_mut());
    assert_eq!(source.progress(), Some((total, total)));
}

/// Hands over what a test sends; blocks while there is nothing.
struct Pipe(std::sync::mpsc::Receiver<Vec<u8>>, Vec<u8>);
impl Read for Pipe {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.1.is_empty() {
            self.1 = self.0.recv().unwrap_or_default();
        }
        let n = self.1.len().min(out.len());
        out[..n].copy_from_slice(&self.1[..n]);
        self.1.drain(..n);
        Ok(n)
    }
}

#[test]
fn a_pipe_gives_each_event_at_once() {
    for compress in [None, Some(zstd_ as fn(&[u8]) -> Vec<u8>)] {
        let (sender, receiver) = std::sync::mpsc::channel();
        let mut source = FileReader::from_reader("pipe", Box::new(Pipe(receiver, Vec::new())), Compression::Auto, lines());
        // Nothing else is ever in the pipe: a reader that waits for more hangs here.
        for event in ["{\"a\":1}\n", "B\n", "a longer event\nand another\n"] {
            sender.send(compress.map_or(event.as_bytes().to_vec(), |compress| compress(event.as_bytes()))).expect("open");
            let chunk = source.next().expect("readable").expect("a chunk");
            assert_eq!(&*chunk.data, event.as_bytes());
        }
        sender.send(compress.map_or(b"half".to_vec(), |compress| compress(b"half"))).expect("open");
        drop(sender);
        assert_eq!(text(&drain(&mut source)), b"half");
        assert_eq!(source.progress(), None);
    }
}

#[cfg(unix)]
#[test]
fn a_named_pipe_is_read_as_it_comes() {
    let dir = project(&[]);
    let path = dir.path().join("events");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    if !made.is_ok_and(|status| status.success()) {
        println!("SKIPPED a_named_pipe_is_read_as_it_comes: no mkfifo here");
        return;
    }
    let mut source = config(&["events"]).open(dir.path(), lines()).expect("opening does not wait for a writer");
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    let writer = std::thread::spawn(move || {
        let mut file = fs::OpenOptions::new().write(true).open(path).expect("a pipe");
        file.write_all(b"one\n").expect("a reader");
        receiver.recv().expect("the first event was read");
        file.write_all(b"two\n").expect("a reader");
    });
    assert_eq!(&*source.next().expect("readable").expect("a chunk").data, b"one\n");
    sender.send(()).expect("waiting");
    assert_eq!(text(&drain(source.as_mut())), b"two\n");
    writer.join().expect("ends");
}

/// A long record in small pieces: the search for its end stays linear, or this takes minutes.
#[test]
fn a_long_record_through_a_pipe() {
    struct Counting(Arc<std::sync::atomic::AtomicUsize>);
    impl Framing for Counting {
        fn split(&mut self, data: &[u8]) -> usize {
            self.0.fetch_add(data.len(), std::sync::atomic::Ordering::Relaxed);
            Lines.split(data)
        }
    }
    let searched = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let mut content = vec![b'x'; 15_000_000];
    content.extend_from_slice(b"\nnext\n");
    let framing = searched.clone();
    let framing: NewFraming = Box::new(move || Box::new(Counting(framing.clone())));
    let mut source = FileReader::from_reader("pipe", Box::new(io::Cursor::new(content.clone())), Compression::None, framing);
    assert!(text(&drain(&mut source)) == content);
    assert!(searched.load(std::sync::atomic::Ordering::Relaxed) < 2 * content.len());
}

#[test]
fn a_failing_read_is_unavailable_and_loses_nothing() {
    struct Failing(u32, Vec<u8>);
    impl Read for Failing {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            self.0 += 1;
            if self.0.is_multiple_of(2) {
                return Err(io::Error::other("cable pulled"));
            }
            let n = self.1.len().min(5).min(out.len());
            out[..n].copy_from_slice(&self.1[..n]);
            self.1.drain(..n);
            Ok(n)
        }
    }
    let content = b"first line\nsecond line\nthird";
    let open = |bytes: Vec<u8>| FileReader::from_reader("net", Box::new(Failing(0, bytes)), Compression::Auto, lines());
    let mut source = open(content.to_vec());
    let (mut got, mut failures) = (Vec::new(), 0);
    loop {
        match source.next() {
            Ok(Some(chunk)) => got.extend_from_slice(&chunk.data),
            Ok(None) => break,
            Err(e) => {
                assert_eq!(e.kind, Kind::Unavailable);
                assert!(e.to_string().contains("`net`"), "{e}");
                failures += 1;
            }
        }
    }
    assert_eq!(got, content);
    assert!(failures > 3);
    // A decoder cannot go on in the middle: it must not end quietly either.
    let mut source = open(gzip(content));
    for _ in 0..10 {
        assert_eq!(source.next().expect_err("stays").kind, Kind::Unavailable);
    }
}
