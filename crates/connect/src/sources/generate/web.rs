//! Requests to a shop. Ordinary sessions each have a customer, an address and an agent; a few hundred attackers take turns.

use super::random::{Random, Zipf, mix, scale};
use tables::Tables;

mod tables;

/// No event is longer, line end included.
pub(super) const LINE_BYTES_MAX: usize = 1024;

const ADDRESSES: u32 = 200_000;
const CUSTOMERS: u32 = 200;
const ATTACKERS: u32 = 300;
/// An attacker is at it for this long, with this many at once for every event per second.
const ATTACK_US: u64 = 30_000_000;
const ATTACKERS_PER_RATE: f64 = 1.0 / 250.0;
const ATTACK_SESSION_US: u64 = 600_000_000;
const ROTATION_US: u64 = 5_000_000;

/// The shop and its visitors; `event` appends one line after the other.
pub(super) struct Web {
    tables: Tables,
    random: Random,
    seed: u64,
    customers: Zipf,
    addresses: Zipf,
    agents: Zipf,
    paths: Zipf,
    sessions: Vec<Session>,
    attackers_at_once: u32,
    /// The next product each scraper looks at.
    walks: Vec<u32>,
    clock: EventClock,
}

#[derive(Clone, Copy)]
struct Session {
    id: u64,
    customer: u32,
    address: u32,
    /// Mobile visitors come from a second address now and then.
    other_address: u32,
    agent: u32,
    changes_agent: bool,
    screen: u64,
}

/// What one request is made of.
struct Request<'a> {
    session: Session,
    address: u32,
    agent: u32,
    method: &'a [u8],
    path: usize,
    item: u32,
    status: u16,
    bytes: u32,
    referer: usize,
    label: &'a [u8],
}

impl Web {
    /// `start_us`: event time of the first event, microseconds since 1970.
    pub fn new(seed: u64, rate: f64, start_us: i64) -> Web {
        let tables = Tables::new();
        let mut web = Web {
            customers: Zipf::new(CUSTOMERS, 1.0, 0.0),
            addresses: Zipf::new(ADDRESSES, 0.9, 100.0),
            agents: Zipf::new(tables.browsers, 0.8, 2.0),
            paths: Zipf::new(tables::PATHS.len() as u32, 0.6, 0.0),
            tables,
            random: Random::new(seed),
            seed: mix(seed ^ 0x5eed),
            sessions: Vec::new(),
            attackers_at_once: ((rate * ATTACKERS_PER_RATE) as u32).max(4),
            walks: vec![100_000; ATTACKERS as usize],
            clock: EventClock::new(rate, start_us),
        };
        let at_once = (rate * 10.0).clamp(100.0, 100_000.0) as usize;
        web.sessions = (0..at_once).map(|_| web.session()).collect();
        web
    }

    pub fn event(&mut self, out: &mut Vec<u8>) {
        self.clock.advance(self.random.next());
        if scale(self.random.next(), 100) < 4 { self.attack(out) } else { self.visit(out) }
    }

    fn session(&mut self) -> Session {
        let r = &mut self.random;
        let id = r.next();
        let kind = r.below(100);
        let (browsers, crawlers, tools) = (self.tables.browsers, self.tables.crawlers, self.tables.tools);
        let agent = match kind {
            0..5 => browsers + r.below(crawlers),
            99 => browsers + crawlers + r.below(tools),
            _ => self.agents.pick(r.next()),
        };
        let address = address_of(self.seed, self.addresses.pick(r.next()));
        let mobile = r.below(20) == 0;
        let other_address = if mobile { address_of(self.seed, self.addresses.pick(r.next())) } else { address };
        let customer = self.customers.pick(r.next());
        Session { id, customer, address, other_address, agent, changes_agent: kind == 50, screen: r.next() }
    }

    fn visit(&mut self, out: &mut Vec<u8>) {
        let r = self.random.next();
        let slot = scale(r, self.sessions.len() as u32) as usize;
        // Sessions have 30 requests on average.
        if scale(r << 32, 30) == 0 {
            self.sessions[slot] = self.session();
        }
        let session = self.sessions[slot];
        let r = &mut self.random;
        let address = if r.below(10) == 0 { session.other_address } else { session.address };
        let agent =
            if session.changes_agent && r.below(20) == 0 { (session.agent + 1) % self.tables.browsers } else { session.agent };
        let (method, empty) = tables::method(r.below(100));
        let status = tables::status(r.below(1000));
        let bytes = if empty || status == 304 { 0 } else { self.tables.sizes[r.next() as usize % tables::SIZES] };
        let path = self.paths.pick(r.next()) as usize;
        let item = 100_000 + r.below(900_000);
        let referer = r.below(tables::REFERERS.len() as u32) as usize;
        self.write(out, &Request { session, address, agent, method, path, item, status, bytes, referer, label: b"null" });
    }

    fn attack(&mut self, out: &mut Vec<u8>) {
        let now = self.clock.elapsed_us;
        let turn = self.random.below(self.attackers_at_once) as u64;
        let attacker = scale(mix(((now / ATTACK_US) * 1009 + turn) ^ self.seed), ATTACKERS);
        let id = mix(((attacker as u64) << 32) ^ (now / ATTACK_SESSION_US) ^ self.seed);
        let address = address_of(self.seed, ADDRESSES + attacker);
        let customer = self.customers.pick(mix(id ^ 1));
        let steady = scale(mix(id ^ 2), self.tables.browsers);
        let session =
            Session { id, customer, address, other_address: address, agent: steady, changes_agent: false, screen: mix(id) };
        let outcome = self.random.below(100);
        let random = self.random.below(200);
        let login = |agent, label| Request {
            session,
            address,
            agent,
            method: b"POST",
            path: tables::LOGIN,
            item: 0,
            status: [401, 429, 200][(outcome >= 92) as usize + (outcome >= 97) as usize],
            bytes: 300 + random,
            referer: tables::SHOP,
            label,
        };
        let request = match attacker % 10 {
            0..5 => login(scale(mix(id ^ (now / ROTATION_US)), self.tables.browsers), &b"\"credential_stuffing\""[..]),
            5..7 => login(steady, b"\"login_burst\""),
            _ => {
                let item = &mut self.walks[attacker as usize];
                *item = if *item >= 999_999 { 100_000 } else { *item + 1 };
                Request {
                    session,
                    address,
                    agent: steady,
                    method: b"GET",
                    path: tables::PRODUCT,
                    item: *item,
                    status: if outcome < 95 { 200 } else { 429 },
                    bytes: 20_000 + 50 * random,
                    referer: 0,
                    label: b"\"scraper\"",
                }
            }
        };
        self.write(out, &request);
    }

    fn write(&mut self, out: &mut Vec<u8>, request: &Request) {
        let (t, session) = (&self.tables, &request.session);
        let mut line = Line { bytes: [0; LINE_BYTES_MAX], len: 0 };
        line.text(b"{\"request_id\":\"");
        line.hex::<16>(self.random.next());
        line.hex::<16>(self.random.next());
        line.text(b"\",\"event_time\":\"");
        line.text(&self.clock.second);
        line.digits::<6>((self.clock.now_us % 1_000_000) as u32);
        line.text(b"Z\",\"customer\":\"c");
        line.digits::<3>(session.customer);
        line.text(b"\",\"session\":\"");
        line.hex::<12>(session.id);
        line.text(b"\",\"ip\":\"");
        for (i, octet) in request.address.to_be_bytes().into_iter().enumerate() {
            if i > 0 {
                line.text(b".");
            }
            line.number(octet as u32);
        }
        line.text(b"\",\"method\":\"");
        line.text(request.method);
        line.text(b"\",\"path\":\"");
        let (before, has_item, after) = tables::PATHS[request.path];
        line.text(before.as_bytes());
        if has_item {
            line.digits::<6>(request.item);
            line.text(after.as_bytes());
        }
        line.text(b"\",\"status\":");
        line.digits::<3>(request.status as u32);
        line.text(b",\"bytes\":");
        line.number(request.bytes);
        line.text(b",\"referer\":\"");
        line.text(tables::REFERERS[request.referer].as_bytes());
        line.text(b"\",\"user_agent\":\"");
        line.text(t.agents[request.agent as usize].as_bytes());
        line.text(b"\",\"device\":\"");
        line.hex::<8>(session.screen);
        line.text(b"\",\"country\":\"");
        line.text(tables::COUNTRIES[scale(mix(request.address as u64), 32) as usize].as_bytes());
        let quality = self.random.below(1000);
        let depth: &[u8] = if quality == 0 { b"-100" } else { tables::DEPTHS[(session.screen >> 32) as usize % 8] };
        line.text(b"\",\"color_depth\":");
        line.text(depth);
        line.text(b",\"fonts\":");
        let fonts: &[u8] = if quality == 1 { b"17" } else { tables::FONTS[(session.screen >> 40) as usize % 8] };
        line.text(fonts);
        line.text(b",\"label\":");
        line.text(request.label);
        line.text(b"}\n");
        out.extend_from_slice(&line.bytes[..line.len]);
    }
}

/// The address of a visitor: any but private ones.
fn address_of(seed: u64, visitor: u32) -> u32 {
    let address = 0x0100_0000 + scale(mix(seed ^ visitor as u64), 0xDEFF_FFFF);
    if matches!(address >> 24, 10 | 127) { address + (1 << 24) } else { address }
}

/// A Poisson process: gaps are exponential, times differ by a microsecond at least.
struct EventClock {
    start_us: i64,
    elapsed_ns: u64,
    elapsed_us: u64,
    now_us: i64,
    gaps_ns: Vec<u64>,
    /// `2026-03-01T00:00:00.`
    second: [u8; 20],
    second_us: i64,
}

const GAPS: usize = 4096;

impl EventClock {
    fn new(rate: f64, start_us: i64) -> EventClock {
        let gap = |i: usize| (-(1.0 - (i as f64 + 0.5) / GAPS as f64).ln() * 1e9 / rate) as u64;
        let gaps_ns = (0..GAPS).map(gap).collect();
        EventClock { start_us, elapsed_ns: 0, elapsed_us: 0, now_us: start_us - 1, gaps_ns, second: [0; 20], second_us: i64::MIN }
    }

    fn advance(&mut self, random: u64) {
        // The first event happens at the start.
        if self.now_us >= self.start_us {
            self.elapsed_ns += self.gaps_ns[random as usize % GAPS];
        }
        self.now_us = (self.start_us + (self.elapsed_ns / 1000) as i64).max(self.now_us + 1);
        self.elapsed_us = (self.now_us - self.start_us) as u64;
        let second_us = self.now_us - self.now_us % 1_000_000;
        if second_us != self.second_us {
            self.second_us = second_us;
            self.second = tables::second(second_us / 1_000_000);
        }
    }
}

/// One line in the making: appends without asking for memory.
struct Line {
    bytes: [u8; LINE_BYTES_MAX],
    len: usize,
}

impl Line {
    #[inline(always)]
    fn text(&mut self, text: &[u8]) {
        if let Some(room) = self.bytes.get_mut(self.len..self.len + text.len()) {
            room.copy_from_slice(text);
            self.len += text.len();
        }
    }
    /// The upper digits of `value`.
    #[inline(always)]
    fn hex<const N: usize>(&mut self, value: u64) {
        let mut text = [0; N];
        for (i, digit) in text.iter_mut().enumerate() {
            *digit = b"0123456789abcdef"[(value >> (60 - 4 * i)) as usize & 15];
        }
        self.text(&text);
    }
    /// The lower digits of `value`, with zeros in front.
    #[inline(always)]
    fn digits<const N: usize>(&mut self, mut value: u32) {
        let mut text = [0; N];
        for digit in text.iter_mut().rev() {
            *digit = b'0' + (value % 10) as u8;
            value /= 10;
        }
        self.text(&text);
    }
    #[inline(always)]
    fn number(&mut self, value: u32) {
        match value {
            0..10 => self.digits::<1>(value),
            10..100 => self.digits::<2>(value),
            100..1000 => self.digits::<3>(value),
            1000..10_000 => self.digits::<4>(value),
            10_000..100_000 => self.digits::<5>(value),
            100_000..1_000_000 => self.digits::<6>(value),
            _ => self.digits::<10>(value),
        }
    }
}
