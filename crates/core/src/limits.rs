//! Every bound of the data path, by name. What is not here grows with the configuration only.

/// A record longer than this is not decoded; it counts as one undecodable event.
pub const RECORD_BYTES_MAX: usize = 16 << 20;
/// What a source hands over at once, at most (unless a single record is longer).
pub const CHUNK_BYTES_MAX: usize = 512 << 10;
/// Nesting of a JSON record.
pub const DEPTH_MAX: usize = 128;
/// Entries a measure keeps per key before it goes to tiles.
pub const EXACT_UP_TO: usize = 65_536;
/// Tiles per window once a measure is no longer exact.
pub const TILES_PER_WINDOW: i64 = 256;
/// Sketches of one measure and key, all tiles together. (The window last summed from them comes on top.)
pub const SKETCH_BYTES_MAX: usize = 64 << 10;
/// What a pipeline may have set aside as quarantined, and as dead, until somebody settles it.
pub const JOURNAL_BYTES_MAX: u64 = 1 << 30;
/// Raw text kept with a quarantined or dead-lettered event.
pub const KEPT_RAW_BYTES_MAX: usize = 64 << 10;
/// The longest window.
pub const WITHIN_DAYS_MAX: i64 = 90;
/// Bytes of the key of a group; a longer key is replaced by its prefix and hash.
pub const KEY_BYTES_MAX: usize = 4 << 10;
/// Entities with an alert of late; past it the one whose time is over first makes room, and what it holds back is told.
pub const ALERT_ENTITIES_MAX: usize = 16_384;
