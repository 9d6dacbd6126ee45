//! Expressions of the project.

use crate::lookups::testing::{check_mistakes, check_refused, folder, found, good, look_up, real};

const REGEXES: &[u8] = br#"
user_agent_parsers:
  # A comment.
  - regex: '(Firefox|Chrome)/(\d+)'
  - regex: '(Tool)-\d{1,200}$'
    family_replacement: 'My $1'
    v1_replacement: 10
  - regex: '(Brace)\d{2}'
    family_replacement: '$${1}'
os_parsers:
  - regex: '(Windows NT|Android)'
device_parsers:
  - regex: '; ?(SM-[A-Z0-9]+)'
    regex_flag: 'i'
    device_replacement: 'Samsung $1'
    brand_replacement: 'Samsung'
    model_replacement: '$1'
"#;

#[test]
fn expressions_of_the_project() {
    let dir = folder(&[("r.yaml", REGEXES), ("s.txt", b"Tool\n")]);
    let config = good("user_agent: { of: ua, substrings: s.txt, regexes: r.yaml }");
    let names: Vec<_> = config.columns().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["ua_is_crawler", "ua_family", "ua_os", "ua_device"]);
    assert_eq!(config.files(), ["s.txt", "r.yaml"]);
    let keys =
        [Some("x Chrome/1 (Android; sm-a5)"), Some("Tool-77"), None, Some("Chromium"), Some(""), Some("Windows NT Firefox/9")];
    let expected = [
        "false true - false false false",
        "Chrome My Tool - Other Other Firefox",
        "Android Other - Other Other Windows NT",
        "Samsung sm-a5 Other - Other Other Other",
    ];
    let mut lookup = config.open(&|name| dir.path().join(name), &[]).expect("good expressions");
    for _ in 0..2 {
        assert_eq!(found(&config, lookup.as_mut(), &keys), expected);
    }
    for i in 0..4 {
        let wanted: Vec<bool> = (0..4).map(|j| i == j).collect();
        let only: Vec<_> = (0..4).map(|j| if i == j { expected[j] } else { "- - - - - -" }).collect();
        assert_eq!(look_up(&config, dir.path(), &wanted, &keys).expect("good expressions"), only);
    }
}

#[test]
fn bad_expressions_are_refused_with_their_line() {
    check_mistakes(&[("user_agent: { of: ua, regexes: \"\" }", "an empty path")]);
    check_refused(
        "user_agent: { of: ua, regexes: r.yaml }",
        "r.yaml",
        &[
            (b"", "r.yaml"),
            (b"a: [\n", "r.yaml:2: invalid YAML"),
            (b"os_parsers: []\n", "expected `user_agent_parsers`, `os_parsers` or `device_parsers`"),
            (b"os_parsers:\n  - regexp: x\n", "r.yaml:2:"),
            (b"os_parsers:\n  - regex: x\n  - regex: '('\n", "r.yaml:3: regex parse error"),
            (b"device_parsers:\n  - regex: '(a{1000}){1000}'\n", "r.yaml:2: the compiled expression is too large"),
            (b"user_agent_parsers:\n  - regex: 'a'\n    family_replacement: 'x $1'\n", "r.yaml:2: the replacement names group 1"),
            (b"os_parsers:\n  - regex: '\xff'\n", "r.yaml:2: not UTF-8"),
            (b"os_parsers: 5\n", "r.yaml:1:"),
        ],
    );
}

#[test]
fn real_expressions() {
    let Some(root) = real("real_expressions") else { return };
    let config = good("user_agent: { of: ua, regexes: uap-core_regexes.yaml.gz }");
    let keys = [
        Some(
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_3 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.3 Mobile/15E148 Safari/604.1",
        ),
        Some("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"),
    ];
    let found = look_up(&config, &root, &[], &keys).expect("good expressions");
    assert_eq!(found, ["false true", "Mobile Safari Googlebot", "iOS Other", "iPhone Spider"]);
}
