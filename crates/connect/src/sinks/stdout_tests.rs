use super::*;
use arrow_array::{ArrayRef, Int64Array, StringViewArray};
use std::sync::{Arc, Mutex};

#[derive(Clone, Default)]
struct Screen(Arc<Mutex<Vec<u8>>>);

impl Write for Screen {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(data)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn shown(config: StdoutSink, colour: bool) -> String {
    let batch = |from: i64| {
        let n = Int64Array::from(vec![Some(from), Some(from * 1000), None]);
        let ip = StringViewArray::from(vec![Some("1.2.3.4"), Some("2001:db8::1"), Some("\x1b[31mevil")]);
        let decision = StringViewArray::from(vec!["allow", "deny", "other"]);
        RecordBatch::try_from_iter([("ip", Arc::new(ip) as ArrayRef), ("n", Arc::new(n)), ("decision", Arc::new(decision))])
            .unwrap()
    };
    let screen = Screen::default();
    let mut sink = config.open(Box::new(screen.clone()), batch(0).schema(), colour).unwrap();
    let mut encoder = sink.encoder().unwrap();
    for from in [1, 2_000_000] {
        sink.write(encoder.encode(&batch(from)).unwrap(), 0).unwrap();
    }
    sink.close().unwrap();
    let bytes = screen.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_table_lines_up_and_counts_the_rest() {
    let text = shown(StdoutSink { limit: 4, ..Default::default() }, false);
    let expected = "\
ip              n  decision
1.2.3.4         1  allow
2001:db8::1  1000  deny
\u{fffd}[31mevil       -  other
1.2.3.4      200…  allow
... and 2 more (6 rows in all)
";
    assert_eq!(text, expected);
}

#[test]
fn colours_only_where_wanted() {
    let text = shown(StdoutSink { limit: 2, ..Default::default() }, true);
    assert!(text.contains("  \x1b[31mdeny\x1b[0m\n"), "{text:?}");
    assert!(!shown(StdoutSink::default(), false).contains('\x1b'));
}

#[test]
fn ndjson_shows_all() {
    let text = shown(StdoutSink { format: StdoutFormat::Ndjson, limit: 1 }, true);
    assert_eq!(text.lines().count(), 6);
    assert_eq!(text.lines().next(), Some(r#"{"ip":"1.2.3.4","n":1,"decision":"allow"}"#));
}
