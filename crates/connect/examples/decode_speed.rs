//! How fast a codec reads a file, and what it makes of it.
//!
//! `decode_speed FILE [CODEC] [FIELDS]`, where CODEC is a codec's configuration as JSON (default: `{"json": {}}`) and
//! FIELDS are like `user:text,bytes:int`; access logs and syslog know theirs.

use ouzel_connect::codecs::CodecConfig;
use ouzel_core::{Chunk, Origin, Path, Wanted, limits, path::Step};
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let file = arguments.first().ok_or("expected a file")?;
    let codec: CodecConfig = serde_json::from_str(arguments.get(1).map_or(r#"{"json": {}}"#, String::as_str))?;
    let wanted = wanted(&codec, arguments.get(2).map_or("", String::as_str))?;
    let chunks = chunks(&codec, file)?;
    let mut decoder = codec.decoder(wanted.clone())?;
    for round in 0..5 {
        let (mut rows, mut bytes, mut broken, mut malformed) = (0, 0, Vec::new(), vec![Vec::new(); wanted.len()]);
        #[expect(clippy::disallowed_methods, reason = "measuring is what this program is for")]
        let started = Instant::now();
        for chunk in &chunks {
            let decoded = decoder.decode(chunk)?;
            rows += decoded.rows;
            bytes += chunk.data.len();
            broken.extend(decoded.broken.into_iter().map(|b| b.reason));
            for (reasons, column) in malformed.iter_mut().zip(decoded.columns) {
                reasons.extend(column.malformed.into_iter().map(|m| m.reason));
            }
        }
        let ns = started.elapsed().as_nanos() as f64;
        println!("{:.1} ns/record, {:.2} GB/s, {rows} rows, {} broken", ns / rows as f64, bytes as f64 / ns, broken.len());
        if round == 0 {
            broken.iter().take(5).for_each(|reason| println!("  broken: {reason}"));
            for (wanted, reasons) in wanted.iter().zip(&malformed).filter(|(_, reasons)| !reasons.is_empty()) {
                println!("  {}: {} malformed, the first {}", wanted.path, reasons.len(), reasons[0]);
            }
        }
    }
    Ok(())
}

fn wanted(codec: &CodecConfig, fields: &str) -> Result<Vec<Wanted>, String> {
    let mut wanted = Vec::new();
    for (name, kind) in codec.fields().unwrap_or_default() {
        wanted.push(Wanted { path: Path::key(name), types: vec![kind], any_text: false });
    }
    for field in fields.split(',').filter(|field| !field.is_empty()) {
        let (name, kind) = field.split_once(':').unwrap_or((field, "text"));
        let path = Path(name.split('.').map(|key| Step::Key(key.into())).collect());
        wanted.push(Wanted { path, types: vec![kind.parse()?], any_text: false });
    }
    Ok(wanted)
}

/// The file as a source would hand it over.
fn chunks(codec: &CodecConfig, file: &str) -> Result<Vec<Chunk>, Box<dyn std::error::Error>> {
    let data = std::fs::read(file)?;
    let mut framing = codec.framing();
    let start = framing.header(&data, true).unwrap_or(0);
    let header = Some(data[..start].trim_ascii_end().into());
    let mut chunks = Vec::new();
    let mut at = start;
    while at < data.len() {
        let end = data.len().min(at + limits::CHUNK_BYTES_MAX);
        let whole = if end == data.len() { end - at } else { framing.split(&data[at..end]).max(1) };
        let origin = Origin { name: file.into(), position: at as u64, header: header.clone() };
        chunks.push(Chunk {
            partition: 0,
            origin,
            data: data[at..at + whole].to_vec().into(),
            ingested: Vec::new(),
            fault: None,
        });
        at += whole;
    }
    Ok(chunks)
}
