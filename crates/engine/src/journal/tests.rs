use super::*;

#[test]
fn a_full_journal_stops_the_run_and_says_what_makes_room() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut journal = Journal::open(folder.path(), JournalLengths::default(), false).expect("opens");
    journal.begin().expect("begins");
    journal.limit = 1000;
    let aside = |n: u64| SetAside {
        fate: Fate::DeadLettered,
        id: format!("p.0.0.{n}.0"),
        origin: ("in".into(), n),
        reason: "why".into(),
        raw: b"raw".to_vec(),
    };
    let written = (0..100).take_while(|n| journal.write(&aside(*n)).is_ok()).count();
    assert!((5..20).contains(&written), "{written}");
    let full = journal.write(&aside(100)).expect_err("is full");
    assert!(full.kind == Kind::Unavailable && full.message().contains("ouzel deadletters drop --all"), "{full}");
    // The other has room.
    journal.write(&SetAside { fate: Fate::Quarantined, ..aside(101) }).expect("is written");
    journal.close().expect("closes");
    let mut journaled = Journaled::open(folder.path(), Fate::DeadLettered, None).expect("opens");
    let ids: Vec<String> = journaled.entries().expect("readable").map(|entry| entry.id).collect();
    assert_eq!(ids.len(), written);
    assert!(!journaled.is_settled().expect("readable"));
    journaled.settle(&ids[1..]).expect("writable");
    assert!(!journaled.is_settled().expect("readable"));
    journaled.settle(&ids[..1]).expect("writable");
    assert!(journaled.is_settled().expect("readable"));
}
