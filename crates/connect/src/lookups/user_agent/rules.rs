//! Which tokens mean what. Of all tokens that occur in a user agent, the first in its list counts; letters match in either case.

use super::{Class, UserAgentLookup};
use crate::lookups::Files;
use crate::lookups::read_file;
use aho_corasick::AhoCorasick;
use ouzel_core::{Error, Result};
use regex::{RegexSet, RegexSetBuilder};

/// Named crawlers stand before `bot`, that before browsers (which many crawlers also name), and browsers before those whose
/// token they carry for compatibility. The last is for what is not recognised.
pub(super) const FAMILIES: &[(&str, &str)] = &[
    ("adsbot-google", "AdsBot-Google"),
    ("googlebot", "Googlebot"),
    ("mediapartners-google", "Mediapartners-Google"),
    ("google-inspectiontool", "Google-InspectionTool"),
    ("bingbot", "bingbot"),
    ("bingpreview", "BingPreview"),
    ("yandexbot", "YandexBot"),
    ("baiduspider", "Baiduspider"),
    ("duckduckbot", "DuckDuckBot"),
    ("slurp", "Yahoo! Slurp"),
    ("applebot", "Applebot"),
    ("amazonbot", "Amazonbot"),
    ("petalbot", "PetalBot"),
    ("ahrefsbot", "AhrefsBot"),
    ("semrushbot", "SemrushBot"),
    ("mj12bot", "MJ12bot"),
    ("dotbot", "DotBot"),
    ("gptbot", "GPTBot"),
    ("chatgpt-user", "ChatGPT-User"),
    ("oai-searchbot", "OAI-SearchBot"),
    ("claudebot", "ClaudeBot"),
    ("perplexitybot", "PerplexityBot"),
    ("bytespider", "Bytespider"),
    ("ccbot", "CCBot"),
    ("facebookexternalhit", "facebookexternalhit"),
    ("meta-externalagent", "meta-externalagent"),
    ("twitterbot", "Twitterbot"),
    ("linkedinbot", "LinkedInBot"),
    ("slackbot", "Slackbot"),
    ("telegrambot", "TelegramBot"),
    ("discordbot", "Discordbot"),
    ("uptimerobot", "UptimeRobot"),
    ("pingdom", "Pingdom"),
    ("bot", OTHER_BOT),
    ("crawl", OTHER_BOT),
    ("spider", OTHER_BOT),
    ("scrapy", "Scrapy"),
    ("headlesschrome", "Headless Chrome"),
    ("phantomjs", "PhantomJS"),
    ("electron/", "Electron"),
    ("samsungbrowser/", "Samsung Internet"),
    ("edg/", "Edge"),
    ("edge/", "Edge"),
    ("edga/", "Edge"),
    ("edgios/", "Edge"),
    ("opr/", "Opera"),
    ("opera", "Opera"),
    ("vivaldi/", "Vivaldi"),
    ("yabrowser/", "Yandex Browser"),
    ("ucbrowser/", "UC Browser"),
    ("miuibrowser/", "Miui Browser"),
    ("duckduckgo/", "DuckDuckGo"),
    ("seamonkey/", "SeaMonkey"),
    ("firefox/", "Firefox"),
    ("fxios/", "Firefox"),
    ("chrome/", "Chrome"),
    ("crios/", "Chrome"),
    ("chromium/", "Chromium"),
    ("msie ", "Internet Explorer"),
    ("trident/", "Internet Explorer"),
    ("safari/", SAFARI),
    ("python-requests", "python-requests"),
    ("python-urllib", "Python-urllib"),
    ("python-httpx", "python-httpx"),
    ("aiohttp", "aiohttp"),
    ("go-http-client", "Go-http-client"),
    ("okhttp", "okhttp"),
    ("curl/", "curl"),
    ("wget/", "Wget"),
    ("postmanruntime", "Postman"),
    ("axios/", "axios"),
    ("node-fetch", "node-fetch"),
    ("undici", "undici"),
    ("apache-httpclient", "Apache-HttpClient"),
    ("java/", "Java"),
    ("libwww-perl", "libwww-perl"),
    ("ruby", "Ruby"),
    ("guzzlehttp", "Guzzle"),
    ("dalvik/", "Dalvik"),
    ("cfnetwork/", "CFNetwork"),
    ("", "Android Browser"),
    ("", OTHER),
];

pub(super) const SYSTEMS: &[(&str, &str)] = &[
    ("windows phone", "Windows Phone"),
    ("windows", "Windows"),
    ("iphone", "iOS"),
    ("ipad", "iOS"),
    ("ipod", "iOS"),
    ("harmonyos", "HarmonyOS"),
    ("android", ANDROID),
    ("cros ", "ChromeOS"),
    ("mac os x", "macOS"),
    ("macintosh", "macOS"),
    ("tizen", "Tizen"),
    ("freebsd", "FreeBSD"),
    ("openbsd", "OpenBSD"),
    ("linux", "Linux"),
    ("x11", "Linux"),
    ("", OTHER),
];

/// Crawlers and tools where the project names no list of its own.
const CRAWLERS: &[&str] = &[
    "bot",
    "crawl",
    "spider",
    "slurp",
    "scrapy",
    "headlesschrome",
    "phantomjs",
    "mediapartners-google",
    "google-inspectiontool",
    "bingpreview",
    "facebookexternalhit",
    "meta-externalagent",
    "chatgpt-user",
    "pingdom",
    "lighthouse",
    "archiver",
    "python-requests",
    "python-urllib",
    "python-httpx",
    "aiohttp",
    "go-http-client",
    "apache-httpclient",
    "libwww-perl",
    "guzzlehttp",
    "curl/",
    "wget/",
    "java/",
    "axios/",
    "node-fetch",
    "postmanruntime",
    "nikto",
    "sqlmap",
    "nmap",
    "masscan",
    "zgrab",
];

const OTHER_BOT: &str = "Other bot";
pub(super) const OTHER: &str = "Other";
const SAFARI: &str = "Safari";
const ANDROID: &str = "Android";

/// Compiled once, used by all threads.
pub(super) struct Rules {
    crawlers: Crawlers,
    families: Tokens,
    systems: Tokens,
}

enum Crawlers {
    BuiltIn(Tokens),
    /// The project's own, taken literally.
    Given {
        substrings: Option<AhoCorasick>,
        patterns: Option<RegexSet>,
    },
}

/// All patterns of crawler-user-agents.json together need a few megabytes.
const PATTERNS_BYTES_MAX: usize = 64 << 20;

impl Rules {
    pub fn load(config: &UserAgentLookup, files: Files<'_>) -> Result<Rules> {
        let crawlers = if config.substrings.is_none() && config.patterns.is_none() {
            Crawlers::BuiltIn(Tokens::new(CRAWLERS.iter().copied())?)
        } else {
            let substrings = config.substrings.as_ref().map(|file| substrings(&read_file(files, file)?, file)).transpose()?;
            let patterns = config.patterns.as_ref().map(|file| patterns(&read_file(files, file)?, file)).transpose()?;
            Crawlers::Given { substrings, patterns }
        };
        let tokens =
            |rules: &'static [(&str, &str)]| Tokens::new(rules.iter().map(|(token, _)| *token).filter(|token| !token.is_empty()));
        Ok(Rules { crawlers, families: tokens(FAMILIES)?, systems: tokens(SYSTEMS)? })
    }

    pub fn is_crawler(&self, text: &str) -> bool {
        match &self.crawlers {
            Crawlers::BuiltIn(tokens) => tokens.first(text).is_some(),
            Crawlers::Given { substrings, patterns } => {
                substrings.as_ref().is_some_and(|any| any.is_match(text))
                    || patterns.as_ref().is_some_and(|any| any.is_match(text))
            }
        }
    }

    pub fn class(&self, text: &str) -> Class {
        let is_crawler = self.is_crawler(text);
        let os = self.systems.first(text).unwrap_or(SYSTEMS.len() - 1);
        let mut family = self.families.first(text).unwrap_or(FAMILIES.len() - 1);
        // Before Chrome, Android's own browser gave itself out as Safari, which does not run there.
        if FAMILIES[family].1 == SAFARI && SYSTEMS[os].1 == ANDROID {
            family = FAMILIES.len() - 2;
        }
        Class { is_crawler: is_crawler as u32, family: family as u32, os: os as u32 }
    }
}

/// A list of tokens, and which of them is `bot`.
struct Tokens {
    any: AhoCorasick,
    bot: Option<usize>,
}

impl Tokens {
    fn new(tokens: impl Iterator<Item = &'static str> + Clone) -> Result<Tokens> {
        let bot = tokens.clone().position(|token| token == "bot");
        Ok(Tokens { any: automaton(tokens, "built-in tokens")?, bot })
    }

    /// The first in list order that occurs.
    fn first(&self, text: &str) -> Option<usize> {
        // Cubot makes phones.
        let is_phone = |at: usize| at >= 2 && text.as_bytes()[at - 2..at].eq_ignore_ascii_case(b"cu");
        let mut first = None;
        for found in self.any.find_overlapping_iter(text) {
            let token = found.pattern().as_usize();
            if first.is_none_or(|first| token < first) && !(self.bot == Some(token) && is_phone(found.start())) {
                first = Some(token);
            }
        }
        first
    }
}

fn substrings(text: &[u8], file: &str) -> Result<AhoCorasick> {
    let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    // An empty one would be found everywhere.
    automaton(lines.filter(|line| !line.is_empty() && !line.starts_with(b"#")), file)
}

fn automaton<P: AsRef<[u8]>>(substrings: impl IntoIterator<Item = P>, name: &str) -> Result<AhoCorasick> {
    let built = AhoCorasick::builder().ascii_case_insensitive(true).build(substrings);
    built.map_err(|e| Error::config(format!("the substrings of `{name}` cannot be compiled: {e}")))
}

fn patterns(text: &[u8], file: &str) -> Result<RegexSet> {
    let bad = |what: String| Error::config(format!("`{file}`: {what}"));
    let list: Vec<serde_json::Value> =
        serde_json::from_slice(text).map_err(|e| bad(format!("expected a JSON list of patterns: {e}")))?;
    let mut patterns = Vec::new();
    for (i, entry) in list.iter().enumerate() {
        let pattern = entry["pattern"].as_str().or(entry.as_str());
        let pattern = pattern.ok_or_else(|| bad(format!("entry {} has no text `pattern`", i + 1)))?;
        if pattern.is_empty() {
            return Err(bad(format!("the pattern of entry {} is empty", i + 1)));
        }
        // To say which one is wrong.
        regex::Regex::new(pattern).map_err(|e| bad(format!("pattern of entry {}: {e}", i + 1)))?;
        patterns.push(pattern);
    }
    RegexSetBuilder::new(patterns).size_limit(PATTERNS_BYTES_MAX).build().map_err(|e| bad(format!("all patterns together: {e}")))
}
