//! What the shop's requests are made of.

use crate::sources::generate::random::Random;

/// Text before the item's number, whether there is one, and text after it.
pub const PATHS: [(&str, bool, &str); 32] = [
    ("/", false, ""),
    ("/product/", true, ""),
    ("/static/img/", true, ".webp"),
    ("/login", false, ""),
    ("/search?q=", true, ""),
    ("/api/v1/items/", true, ""),
    ("/category/", true, ""),
    ("/static/app.js?v=", true, ""),
    ("/cart", false, ""),
    ("/product/", true, "/reviews"),
    ("/static/main.css?v=", true, ""),
    ("/api/v2/events", false, ""),
    ("/cart/items/", true, ""),
    ("/account", false, ""),
    ("/static/img/", true, "_thumb.webp"),
    ("/checkout", false, ""),
    ("/api/v1/prices?sku=", true, ""),
    ("/account/orders/", true, ""),
    ("/checkout/payment", false, ""),
    ("/api/v1/users/", true, "/profile"),
    ("/blog/", true, ""),
    ("/index.html", false, ""),
    ("/api/v2/recommendations/", true, ""),
    ("/logout", false, ""),
    ("/help/article/", true, ""),
    ("/wishlist/", true, "/share"),
    ("/signup", false, ""),
    ("/password/reset", false, ""),
    ("/stores/near?id=", true, ""),
    ("/media/video/", true, "/seg.ts"),
    ("/robots.txt", false, ""),
    ("/sitemap.xml", false, ""),
];
pub const PRODUCT: usize = 1;
pub const LOGIN: usize = 3;

pub const REFERERS: [&str; 12] = [
    "",
    "",
    "",
    "",
    "",
    "https://www.google.com/",
    "https://www.bing.com/",
    "https://shop.example.com/",
    "https://t.co/x",
    "https://www.facebook.com/",
    "https://shop.example.com/sale",
    "android-app://com.google.android.gm/",
];
pub const SHOP: usize = 7;

pub const COUNTRIES: [&str; 32] = [
    "US", "US", "US", "US", "US", "DE", "DE", "DE", "GB", "GB", "FR", "FR", "JP", "IN", "IN", "BR", //
    "CA", "AU", "NL", "ES", "IT", "PL", "SE", "MX", "ID", "VN", "TR", "RU", "UA", "KR", "CN", "ZA",
];
pub const DEPTHS: [&[u8]; 8] = [b"24", b"24", b"24", b"24", b"24", b"24", b"30", b"32"];
pub const FONTS: [&[u8]; 8] = [
    br#"["Arial","Calibri","Segoe UI"]"#,
    br#"["Arial","Helvetica","Menlo"]"#,
    br#"["Arial","Verdana","Tahoma"]"#,
    br#"["Roboto","Noto Sans"]"#,
    br#"["Helvetica Neue","Courier"]"#,
    br#"["DejaVu Sans","Liberation Mono"]"#,
    br#"["Arial"]"#,
    b"[]",
];

/// Of 100 requests; and whether its answers are empty.
pub fn method(percentile: u32) -> (&'static [u8], bool) {
    match percentile {
        0..82 => (b"GET", false),
        82..95 => (b"POST", false),
        95..97 => (b"PUT", false),
        97 => (b"DELETE", false),
        _ => (b"HEAD", true),
    }
}

/// Of 1000 requests.
pub fn status(permille: u32) -> u16 {
    match permille {
        0..850 => 200,
        850..910 => 304,
        910..945 => 302,
        945..975 => 404,
        975..985 => 403,
        985..991 => 500,
        991..995 => 503,
        _ => 429,
    }
}

pub const SIZES: usize = 4096;

/// What is computed once.
pub struct Tables {
    /// Browsers, then crawlers, then tools.
    pub agents: Vec<String>,
    pub browsers: u32,
    pub crawlers: u32,
    pub tools: u32,
    /// Bytes of answers: log-normal.
    pub sizes: Vec<u32>,
}

impl Tables {
    pub fn new() -> Tables {
        let browsers = browsers();
        let counts = (browsers.len() as u32, CRAWLERS.len() as u32, TOOLS.len() as u32);
        let agents = browsers.into_iter().chain(CRAWLERS.map(String::from)).chain(TOOLS.map(String::from)).collect();
        let mut random = Random::new(0);
        let mut size = || {
            // The sum of twelve uniform numbers is close enough to normal.
            let normal: f64 = (0..12).map(|_| random.unit()).sum::<f64>() - 6.0;
            (normal * 1.3 + 8.5).exp() as u32 % 4_000_000 + 120
        };
        let sizes = (0..SIZES).map(|_| size()).collect();
        Tables { agents, browsers: counts.0, crawlers: counts.1, tools: counts.2, sizes }
    }
}

const CRAWLERS: [&str; 8] = [
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)",
    "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)",
    "Mozilla/5.0 (compatible; SemrushBot/7~bl; +http://www.semrush.com/bot.html)",
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
    "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
    "Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)",
];
const TOOLS: [&str; 6] =
    ["curl/8.5.0", "python-requests/2.31.0", "Go-http-client/2.0", "okhttp/4.12.0", "Wget/1.21.4", "axios/1.6.7"];

/// About fifty, of newer and older versions, the commonest first.
fn browsers() -> Vec<String> {
    const WINDOWS: &str = "Windows NT 10.0; Win64; x64";
    const MAC: &str = "Macintosh; Intel Mac OS X 10_15_7";
    const LINUX: &str = "X11; Linux x86_64";
    let mut agents = Vec::new();
    for (age, chrome) in [146, 145, 143, 138].into_iter().enumerate() {
        let webkit =
            |platform: &str, rest: &str| format!("Mozilla/5.0 ({platform}) AppleWebKit/537.36 (KHTML, like Gecko) {rest}");
        for platform in [WINDOWS, MAC, LINUX] {
            agents.push(webkit(platform, &format!("Chrome/{chrome}.0.0.0 Safari/537.36")));
            agents.push(format!("Mozilla/5.0 ({platform}; rv:{0}.0) Gecko/20100101 Firefox/{0}.0", chrome - 1));
        }
        for platform in ["Linux; Android 10; K", "Linux; Android 15; SM-S938B"] {
            agents.push(webkit(platform, &format!("Chrome/{chrome}.0.0.0 Mobile Safari/537.36")));
        }
        agents.push(webkit(WINDOWS, &format!("Chrome/{chrome}.0.0.0 Safari/537.36 Edg/{chrome}.0.3{age}51.{age}8")));
        agents.push(webkit(WINDOWS, &format!("Chrome/{chrome}.0.0.0 Safari/537.36 OPR/1{age}9.0.0.0")));
        let ios = 26 - 4 * age.min(2) - age;
        let safari = "AppleWebKit/605.1.15 (KHTML, like Gecko)";
        agents.push(format!("Mozilla/5.0 (iPhone; CPU iPhone OS {ios}_{age} like Mac OS X) {safari} Version/{ios}.{age} Mobile/15E148 Safari/604.1"));
        agents.push(format!("Mozilla/5.0 ({MAC}) {safari} Version/{ios}.{age} Safari/605.1.15"));
        let samsung = 28 - age;
        agents.push(webkit(
            "Linux; Android 14; SAMSUNG SM-A546B",
            &format!("SamsungBrowser/{samsung}.0 Chrome/130.0.0.0 Mobile Safari/537.36"),
        ));
    }
    agents
}

/// `2026-03-01T00:00:00.` for seconds since 1970.
pub fn second(seconds: i64) -> [u8; 20] {
    let (day, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = date(day);
    let mut text = *b"0000-00-00T00:00:00.";
    let mut put = |at: usize, width: usize, mut value: i64| {
        for i in (at..at + width).rev() {
            text[i] = b'0' + (value % 10) as u8;
            value /= 10;
        }
    };
    put(0, 4, year);
    put(5, 2, month);
    put(8, 2, day);
    put(11, 2, second / 3600);
    put(14, 2, second / 60 % 60);
    put(17, 2, second % 60);
    text
}

/// Days since 1970 to a date: years that begin in March have their leap day at the end (Hinnant, `civil_from_days`).
fn date(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let of_era = z.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (year_of_era + era * 400 + (month <= 2) as i64, month, day)
}
