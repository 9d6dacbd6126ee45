//! A state that is made anew by other definitions, from the source and from the lake.

use super::commands::{project, write};
use super::resume::{PIPELINE, log, rows, run};

/// A changed feature is rebuilt by running the events so far again: what was written of them stays, what comes is by the new definition.
#[test]
fn a_changed_definition_is_rebuilt_from_the_source() {
    let bad = "not JSON\n";
    let (first, second) = (log(0, 3_000) + bad, log(3_000, 200) + bad);
    let changed =
        PIPELINE.replace("n: { count", "most: { distinct: t, within: 1h }, n: { count").replace("ip, n,", "ip, n, most,");
    let new = project(&changed);
    write(new.path(), "in-1.ndjson", &(first.clone() + &second));
    assert_eq!(run(new.path(), &[], &[]).0, Some(0));
    let by_new = rows(new.path());

    for kill in ["", "kill:published:1", "kill:published:2", "kill:delta-synced:1"] {
        let folder = project(PIPELINE);
        let root = folder.path();
        write(root, "in-1.ndjson", &first);
        assert_eq!(run(root, &[], &[]).0, Some(0));
        let before = rows(root);
        write(root, "pipelines/web.yaml", &changed);
        let (code, _, err) = run(root, &[], &[]);
        assert!(code == Some(6) && err.contains("`features[0]` is another than before") && err.contains("--rebuild"), "{err}");
        write(root, "in-2.ndjson", &second);
        if !kill.is_empty() {
            run(root, &["--rebuild", "--threads", "1"], &[("OUZEL_FAULT", kill)]);
        }
        let (code, summary, err) = run(root, &["--rebuild"], &[]);
        assert_eq!(
            (code, &summary["generation"], &summary["received"], &summary["dead_lettered"]),
            (Some(0), &0.into(), &3202.into(), &2.into()),
            "{err}"
        );
        assert_eq!((&summary["sinks"][0]["offered"], &summary["sinks"][0]["delivered"]), (&3200.into(), &3200.into()));
        let expected = before + &by_new.lines().skip(3_000).map(|row| format!("{row}\n")).collect::<String>();
        assert!(rows(root) == expected, "{kill}: other rows");
        let letters = std::fs::read_to_string(root.join(".ouzel/state/web/dead_letters.ndjson")).expect("there");
        assert_eq!(letters.lines().count(), 2, "each once: {letters}");
        let (code, summary, err) = run(root, &[], &[]);
        assert_eq!((code, &summary["received"]), (Some(0), &3202.into()), "goes on as ever: {err}");
    }

    // However often a start fails before its first commit, nothing is forgotten.
    let folder = project(PIPELINE);
    let root = folder.path();
    write(root, "in-1.ndjson", &first);
    assert_eq!(run(root, &[], &[]).0, Some(0));
    let before = rows(root);
    write(root, "pipelines/web.yaml", &changed);
    for _ in 0..5 {
        run(root, &["--rebuild"], &[("OUZEL_FAULT", "kill:commit-begun:1")]);
    }
    write(root, "in-2.ndjson", &second);
    let (code, summary, err) = run(root, &[], &[]);
    assert_eq!((code, &summary["received"]), (Some(0), &3202.into()), "{err}");
    assert!(rows(root) == before + &by_new.lines().skip(3_000).map(|row| format!("{row}\n")).collect::<String>());

    // What is not there any more cannot be run again.
    let folder = project(PIPELINE);
    write(folder.path(), "in-1.ndjson", &first);
    assert_eq!(run(folder.path(), &[], &[]).0, Some(0));
    write(folder.path(), "pipelines/web.yaml", &changed);
    std::fs::rename(folder.path().join("in-1.ndjson"), folder.path().join("in-2.ndjson")).expect("was there");
    let (code, _, err) = run(folder.path(), &["--rebuild"], &[]);
    assert!(code == Some(6) && err.contains("`in-1.ndjson` is gone"), "{err}");
}

/// Where the source has lost its past, the table that all events went to has it: also late ones, and those said twice.
#[test]
fn a_changed_definition_is_rebuilt_from_the_lake() {
    let event = "event: { fields: { t: timestamp, ip: ip, k: text }, time: t, id: k, lateness: 100us, duplicates_within: 1h }";
    let pipeline = PIPELINE
        .replace("event: { fields: { t: timestamp, ip: ip }, time: t }", event)
        .replace("sinks: [", "sinks: [{ lake: { table: all } }, ")
        .replace("ip, n,", "ip, n, k,");
    let changed = pipeline
        .replace("n: { count", "late: { count: \"*\", within: 1h, where: \"k like '%7'\" }, since: { since_last: \"*\" }, most: { distinct: t, within: 1h }, n: { count")
        .replace("ip, n,", "ip, n, most, late, since,");
    // Every 50th is too late, every 90th was there before.
    let log = |from: usize, n: usize| -> String {
        let lines = (from..from + n).map(|i| {
            let t = if i % 50 == 49 { i - 20 } else { 10 * i };
            format!("{{\"t\":{t},\"ip\":\"10.0.0.{}\",\"k\":\"k{}\"}}\n", i % 7, if i % 90 == 89 { i - 1 } else { i })
        });
        lines.collect()
    };
    let bad = "not JSON\n";
    let (first, second) = (log(0, 3_000) + bad, log(3_000, 200) + bad);
    let new = project(&changed);
    write(new.path(), "in-1.ndjson", &(first.clone() + &second));
    let (code, by_new_summary, _) = run(new.path(), &[], &[]);
    assert_eq!(code, Some(0));
    assert!(by_new_summary["late"].as_u64() > Some(50) && by_new_summary["duplicate"].as_u64() > Some(20), "{by_new_summary}");
    let by_new = rows(new.path());

    let written = |pipeline: &str| {
        let folder = project(pipeline);
        write(folder.path(), "in-1.ndjson", &first);
        assert_eq!(run(folder.path(), &[], &[]).0, Some(0));
        std::fs::remove_file(folder.path().join("in-1.ndjson")).expect("was there");
        write(folder.path(), "in-2.ndjson", &second);
        write(folder.path(), "pipelines/web.yaml", &changed);
        folder
    };
    for kill in ["", "kill:sinks-opened:1", "kill:commit-begun:1", "kill:delta-synced:1", "kill:published:1"] {
        let folder = written(&pipeline);
        let root = folder.path();
        let before = rows(root);
        let (code, _, err) = run(root, &["--rebuild"], &[]);
        assert!(code == Some(6) && err.contains("`in-1.ndjson` is gone"), "{err}");
        if !kill.is_empty() {
            assert_ne!(run(root, &["--rebuild=lake", "--threads", "1"], &[("OUZEL_FAULT", kill)]).0, Some(0));
        }
        let (code, summary, err) = run(root, &["--rebuild=lake"], &[]);
        assert_eq!(code, Some(0), "{kill}: {err}");
        for count in ["received", "delivered", "late", "duplicate", "dead_lettered", "decisions"] {
            assert_eq!(summary[count], by_new_summary[count], "{kill}: {count}");
        }
        let delivered = before.lines().count();
        let expected = before + &by_new.lines().skip(delivered).map(|row| format!("{row}\n")).collect::<String>();
        assert!(rows(root) == expected, "{kill}: other rows");
        let (code, again, err) = run(root, &[], &[]);
        assert_eq!((code, &again["received"]), (Some(0), &summary["received"]), "goes on as ever: {err}");
    }

    // A table that lacks events or columns would not do, nor another meaning of its columns.
    for (then, why) in [
        (pipeline.replace("{ table: all }", "{ table: all, where: \"n > 1\" }"), "only some of the events"),
        (pipeline.replace("{ table: all }", "{ table: all, columns: [_id, t, k] }"), "lacks `ip`"),
        (
            pipeline.replace("{ table: all }", "{ table: all, columns: { _id: _id, t: t, k: k, ip: \"upper(ip)\" } }"),
            "lacks `ip`",
        ),
        (pipeline.replace("{ lake: { table: all } }, ", ""), "writes to no table"),
        (pipeline.replace("100us", "200us"), "`event` is another than before"),
    ] {
        let folder = written(&then);
        let changed = then.replace("200us", "100us").replace("n: { count: \"*\"", "n: { distinct: t");
        write(folder.path(), "pipelines/web.yaml", &changed);
        let (code, _, err) = run(folder.path(), &["--rebuild=lake"], &[]);
        assert!(code == Some(6) && err.contains(why) && err.contains("--fresh"), "{err}");
    }
    let folder = written(&pipeline);
    let file = std::fs::read_dir(folder.path().join("lake/all")).expect("a table").flatten().map(|entry| entry.path());
    let file = file.filter(|path| path.is_file()).max().expect("a file");
    let mut bytes = std::fs::read(&file).expect("bytes");
    bytes[100] ^= 1;
    std::fs::write(&file, bytes).expect("written");
    let (code, _, err) = run(folder.path(), &["--rebuild=lake"], &[]);
    assert!(code == Some(6) && err.contains("is damaged") && err.contains("of the 29"), "{err}");
}
