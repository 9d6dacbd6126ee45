use crate::codecs::CodecConfig;
use crate::sources::{Compression, FileSource, NewFraming};
use arrow_array::builder::{BinaryBuilder, Int64Builder, ListBuilder, StringBuilder};
use arrow_array::types::{Decimal128Type, TimestampMillisecondType, TimestampNanosecondType};
use arrow_array::{
    ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, PrimitiveArray, RecordBatch, StringArray, StructArray,
};
use arrow_avro::compression::CompressionCodec;
use arrow_avro::writer::{WriterBuilder, format::AvroOcfFormat};
use arrow_schema::{DataType, Field};
use ouzel_core::{Chunk, OneOrMany, Source, Spanned};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// Rows from `first` on.
fn rows(first: i64, count: i64) -> RecordBatch {
    let ids: Vec<i64> = (first..first + count).collect();
    let text: StringArray = ids.iter().map(|i| (i % 3 > 0).then(|| format!("text \"{i}\"\n\u{e4}"))).collect();
    let mut tags = ListBuilder::new(StringBuilder::new());
    for i in &ids {
        (0..i % 3).for_each(|n| tags.values().append_value(format!("t{n}")));
        tags.append(true);
    }
    let point: ArrayRef = Arc::new(StructArray::from(vec![
        (
            Arc::new(Field::new("x", DataType::Float64, true)),
            Arc::new(Float64Array::from_iter(ids.iter().map(|i| Some(*i as f64 / 4.0)))) as ArrayRef,
        ),
        (
            Arc::new(Field::new("ok", DataType::Boolean, true)),
            Arc::new(BooleanArray::from_iter(ids.iter().map(|i| Some(i % 2 == 0)))) as ArrayRef,
        ),
    ]));
    let bytes = BinaryBuilder::new();
    let bytes = ids.iter().fold(bytes, |mut b, i| {
        b.append_value(i.to_be_bytes());
        b
    });
    let millis: PrimitiveArray<TimestampMillisecondType> = ids.iter().map(|i| Some(1_431_857_103_250 + i)).collect();
    let nanos: PrimitiveArray<TimestampNanosecondType> = ids.iter().map(|i| Some(1_431_857_103_123_456_789 + i)).collect();
    let price: PrimitiveArray<Decimal128Type> = ids.iter().map(|i| Some(i128::from(*i) * 100 + 5)).collect();
    RecordBatch::try_from_iter([
        ("id", Arc::new(Int64Array::from(ids.clone())) as ArrayRef),
        ("text", Arc::new(text)),
        ("tags", Arc::new(tags.finish())),
        ("point", point),
        ("bytes", Arc::new({ bytes }.finish())),
        ("day", Arc::new(Date32Array::from_iter(ids.iter().map(|i| Some(16_572 + *i as i32))))),
        ("ms", Arc::new(millis.with_timezone("Europe/Berlin"))),
        ("ns", Arc::new(nanos)),
        ("price", Arc::new(price.with_precision_and_scale(20, 2).expect("fits"))),
    ])
    .expect("columns of one length")
}

fn parquet(groups: i64, rows_each: i64) -> Vec<u8> {
    let mut out = Vec::new();
    let properties = WriterProperties::builder().set_compression(parquet::basic::Compression::SNAPPY).build();
    let mut writer = ArrowWriter::try_new(&mut out, rows(0, 1).schema(), Some(properties)).expect("a writer");
    for group in 0..groups {
        writer.write(&rows(group * rows_each, rows_each)).expect("memory");
        writer.flush().expect("memory");
    }
    writer.close().expect("memory");
    out
}

fn avro(blocks: i64, rows_each: i64, codec: Option<CompressionCodec>) -> Vec<u8> {
    let columns = [0, 1, 2, 3, 4, 5, 6, 8];
    let batch = |first, count| rows(first, count).project(&columns).expect("there");
    let schema = batch(0, 1).schema().as_ref().clone();
    // The writer knows zones that are UTC only.
    let mut writer = WriterBuilder::new(schema).with_compression(codec).build::<_, AvroOcfFormat>(Vec::new()).expect("a writer");
    for block in 0..blocks {
        writer.write(&batch(block * rows_each, rows_each)).expect("memory");
    }
    writer.finish().expect("memory");
    writer.into_inner()
}

fn open(dir: &Path, paths: &str, codec: &str) -> Box<dyn Source> {
    let framing = codec_of(codec);
    let new: NewFraming = Box::new(move || framing.framing());
    let path = OneOrMany(vec![Spanned::nowhere(paths.to_string())]);
    FileSource { path, compression: Compression::Auto }.open(dir, new).expect("opens")
}

fn codec_of(codec: &str) -> CodecConfig {
    crate::codecs::tests::codec_of(codec).expect("sound")
}

fn drain(source: &mut dyn Source) -> Vec<Chunk> {
    std::iter::from_fn(|| source.next().expect("readable")).collect()
}

/// Ids of the rows, and the reasons of what is none, in order.
fn read(file: &[u8], codec: &str) -> Vec<String> {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("a"), file).expect("a file");
    shown(&drain(open(dir.path(), "a", codec).as_mut()), codec)
}

fn shown(chunks: &[Chunk], codec: &str) -> Vec<String> {
    let all = chunks.iter().map(|chunk| crate::codecs::tests::show(&crate::codecs::tests::decode(codec, &["id:int"], chunk)));
    all.flat_map(|text| text.lines().map(String::from).collect::<Vec<_>>()).collect()
}

const FIELDS: [&str; 10] = [
    "id:int",
    "text",
    "tags:list<text>",
    "point.x:float",
    "point.ok:bool",
    "bytes",
    "day:timestamp",
    "ms:timestamp",
    "ns:timestamp",
    "price:float",
];

#[test]
fn types() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("a.parquet"), parquet(1, 2)).expect("a file");
    fs::write(dir.path().join("a.avro"), avro(1, 2, None)).expect("a file");
    for (codec, ns) in [("parquet", "2015-05-17T10:05:03.123456Z"), ("avro", "~")] {
        let chunks = drain(open(dir.path(), &format!("*.{codec}"), &format!("{codec}: {{}}")).as_mut());
        let found = crate::codecs::tests::show(&crate::codecs::tests::decode(&format!("{codec}: {{}}"), &FIELDS, &chunks[0]));
        let one =
            format!("0 | ~ | [] | 0.0 | true | AAAAAAAAAAA= | 2015-05-17T00:00:00Z | 2015-05-17T10:05:03.250Z | {ns} | 0.05");
        let two = format!(
            "1 | text \"1\"\n\u{e4} | [t0] | 0.25 | false | AAAAAAAAAAE= | 2015-05-18T00:00:00Z | 2015-05-17T10:05:03.251Z | {ns} | 1.05"
        );
        assert_eq!(found, format!("{one}\n{two}"), "{codec}");
    }
}

#[test]
fn all_rows_in_order_by_every_compression() {
    let expected: Vec<String> = (0..9000).map(|i| i.to_string()).collect();
    assert_eq!(read(&parquet(3, 3000), "parquet: {}"), expected);
    use CompressionCodec::*;
    for codec in [None, Some(Deflate), Some(Snappy), Some(ZStandard), Some(Bzip2), Some(Xz)] {
        assert_eq!(read(&avro(3, 3000, codec), "avro: {}"), expected, "{codec:?}");
    }
    assert_eq!(read(b"", "avro: {}").len() + read(b"", "parquet: {}").len(), 0);
}

#[test]
fn goes_on_from_every_position_and_notices_a_change() {
    for (codec, file, other) in
        [("parquet: {}", parquet(3, 4000), parquet(3, 4001)), ("avro: {}", avro(3, 4000, None), avro(3, 4001, None))]
    {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("a"), &file).expect("a file");
        fs::write(dir.path().join("b"), &file).expect("a file");
        let mut source = open(dir.path(), "*", codec);
        let (mut before, mut positions) = (Vec::new(), Vec::new());
        loop {
            positions.push((before.len(), source.position().expect("known")));
            let Some(chunk) = source.next().expect("readable") else { break };
            before.push(chunk);
        }
        assert!(positions.len() > 6, "{}", positions.len());
        let whole = shown(&before, codec);
        for (count, position) in &positions {
            let mut again = open(dir.path(), "*", codec);
            again.resume(position).expect("unchanged");
            let mut both = shown(&before[..*count], codec);
            both.extend(shown(&drain(again.as_mut()), codec));
            assert!(both == whole, "from {position}");
        }
        fs::write(dir.path().join("a"), &other).expect("a file");
        let mut again = open(dir.path(), "*", codec);
        // The rows are others from the first block's end on.
        assert!(again.resume(&positions[positions.len() - 1].1).is_err(), "{codec}");
    }
}

#[test]
fn a_damaged_part_is_one_dead_letter_and_the_rest_is_read() {
    let mut file = parquet(3, 100);
    let at = file.len() / 2;
    file[at - 400..at + 400].fill(0xff);
    let found = read(&file, "parquet: {}");
    let good = found.iter().filter(|line| line.parse::<i64>().is_ok()).count();
    assert_eq!(good, 200, "{found:?}");
    let bad = found.iter().find(|line| line.starts_with("broken: rows ")).expect("one");
    assert!(bad.contains("00 to ") && bad.contains("99 cannot be read: damaged row group "), "{bad}");

    for codec in [None, Some(CompressionCodec::Deflate)] {
        let mut file = avro(3, 100, codec);
        let at = file.len() / 2;
        file[at - 300..at + 300].fill(0xff);
        let found = read(&file, "avro: {}");
        let good: Vec<i64> = found.iter().filter_map(|line| line.parse().ok()).collect();
        assert_eq!((good.first(), good.last()), (Some(&0), Some(&299)), "{found:?}");
        assert!(found.iter().any(|line| line.contains("records cannot be read: damaged block 2 (")), "{found:?}");

        let file = avro(3, 100, codec);
        let found = read(&file[..file.len() - 40], "avro: {}");
        assert_eq!(found.len(), 201, "{codec:?}: {:?}", found.iter().rev().take(3).collect::<Vec<_>>());
        assert!(
            found[200].contains("damaged block 3 at byte") && found[200].contains("the file ends within it"),
            "{}",
            found[200]
        );
    }
}

#[test]
fn what_is_no_such_file_is_one_dead_letter() {
    let parquet_file = parquet(1, 10);
    for (file, expected) in [
        (&b"{\"a\":1}\n{\"a\":2}\n"[..], "corrupt Parquet in `a` after 0 decompressed bytes: "),
        (b"PAR1", "corrupt Parquet"),
        (&parquet_file[..parquet_file.len() - 1], "corrupt Parquet"),
        (&parquet_file[..100], "corrupt Parquet"),
    ] {
        let found = read(file, "parquet: {}");
        assert!(found.len() == 1 && found[0].contains(expected), "{found:?}");
    }
    let avro_file = avro(1, 10, None);
    for (file, expected) in [
        (&b"{\"a\":1}\n"[..], "does not begin as an Avro container file does"),
        (b"Obj", "the file ends within its header"),
        (&avro_file[..100], "the file ends within its header"),
        (b"Obj\x01\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "a length of "),
        (b"Obj\x01\x02\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", "a length of "),
        (b"Obj\x01\x020123456789abcdef", "the file ends within its header"),
        (b"Obj\x01\x000123456789abcdef", "corrupt Avro"),
    ] {
        let found = read(file, "avro: {}");
        assert!(found.len() == 1 && found[0].contains(expected), "{found:?}");
    }
}

/// Whatever bytes are changed, reading comes to an end without a panic, and what is read is in lines.
#[test]
fn hostile_bytes() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let mut seed = 1u64;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    };
    let mut ids = Int64Builder::new();
    ids.append_value(1);
    for (codec, good) in [
        ("parquet: {}", parquet(2, 20)),
        ("avro: {}", avro(2, 20, None)),
        ("avro: {}", avro(2, 20, Some(CompressionCodec::Snappy))),
    ] {
        for _ in 0..300 {
            let mut file = good.clone();
            for _ in 0..1 + random(3) {
                let at = random(file.len());
                match random(3) {
                    0 => file.truncate(at + 1),
                    1 => file[at] = [0, 0xff, 0x7f, 0x80][random(4)],
                    _ => file[at] ^= 1 << random(8),
                }
            }
            assert!(!read(&file, codec).is_empty());
        }
    }
    std::panic::set_hook(hook);
}
