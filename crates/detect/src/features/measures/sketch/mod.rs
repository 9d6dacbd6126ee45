//! What a measure keeps of a slot once it holds more than `exact_up_to` entries: tiles of the time axis with a sketch
//! each, in bounded memory whatever arrives.
//!
//! - A window is answered by whole tiles, from the tile of its first instant to the tile of its last; so events of at
//!   most one tile before the window, and for a late row of one after it, count too.
//! - All tiles of a slot take at most [`SKETCH_BYTES_MAX`]. What would pass it makes all sketches of the slot coarser, or
//!   makes neighbouring tiles one, so that the width doubles: by turns where both help (counts and buckets), and where
//!   tiles are so many that they are the larger part themselves (a lateness of many windows) by width alone.
//! - Nothing here depends on chance, on the order of a hash table, or on how rows were cut into calls.

pub mod buckets;
pub mod counts;
pub mod hll;

use crate::features::measure::Window;
use ouzel_core::limits::SKETCH_BYTES_MAX;
use ouzel_core::wire;
use ouzel_core::wire::{Damaged, Taker, Wire};
use std::collections::VecDeque;

/// A summary of the values in one tile.
pub trait Sketch: Default + Sized + Wire {
    type Item: Copy;
    /// Several tiles added up, in a form that is quick to read.
    type Summary: Default;
    /// Whether a tile can be taken out of a summary again.
    const SUBTRACTS: bool;
    /// Whether fewer tiles are smaller in all: coarser sketches and wider tiles then take turns, as an error of 30 % in
    /// value would be a poor price for one of 0.4 % in time.
    const WIDENS: bool;

    /// Adds `n` events with this value, here and in the summary of a window that has this tile.
    fn add(&mut self, item: Self::Item, n: u32, level: u8, window: Option<&mut Self::Summary>);
    fn add_to(&self, level: u8, window: &mut Self::Summary);
    /// Undoes `add_to`; called only if `SUBTRACTS`.
    fn take_from(&self, level: u8, window: &mut Self::Summary);
    /// The tile after this one joins it.
    fn join(&mut self, next: Self, level: u8);
    /// Makes the sketches smaller, at most by raising `tiles.level`; false if they are as small as they get.
    fn coarsen(tiles: &mut Tiles<Self>) -> bool;
    /// Heap bytes, an upper bound and a function of the content alone.
    fn bytes(&self) -> usize;
    /// Heap bytes of a summary, about; the limit is not on these.
    fn window_bytes(window: &Self::Summary) -> usize;
}

/// The tiles of one slot.
pub struct Tiles<S: Sketch> {
    within: i64,
    /// Tile `n` holds times in `[n * width, (n + 1) * width)`.
    width: i64,
    /// How coarse the sketches are; 0 is the finest. Never falls until the slot is empty.
    pub(super) level: u8,
    /// How often the width has doubled.
    doublings: u8,
    /// By ascending index; a tile without events is not there.
    pub(super) tiles: VecDeque<Tile<S>>,
    /// Upper bound of the heap bytes of all sketches.
    sketch_bytes: usize,
    newest: i64,
    dead_at: i64,
    /// The window last asked for, kept up to date: rows mostly ask for the same tiles as the row before.
    window: Summary<S>,
}

pub struct Tile<S> {
    pub(super) index: i64,
    events: u64,
    pub(super) sketch: S,
}

/// The tiles of one window, added up.
pub struct Summary<S: Sketch> {
    /// First and last tile; the wrong way round for none.
    tiles: (i64, i64),
    pub level: u8,
    /// Counted events.
    pub events: u64,
    pub contents: S::Summary,
}

impl<S: Sketch> Tiles<S> {
    pub fn new(window: &Window) -> Tiles<S> {
        Tiles {
            within: window.within,
            width: window.tile_width(),
            level: 0,
            doublings: 0,
            tiles: VecDeque::new(),
            sketch_bytes: 0,
            newest: i64::MIN,
            dead_at: i64::MIN,
            window: Summary::new(0),
        }
    }

    /// The greatest time added; when it is dead, so is all that is here.
    pub fn newest(&self) -> i64 {
        self.newest
    }

    pub fn width(&self) -> i64 {
        self.width
    }

    pub fn add(&mut self, time: i64, item: S::Item, n: u32) {
        self.newest = self.newest.max(time);
        let index = time.div_euclid(self.width);
        let at = self.tiles.partition_point(|tile| tile.index < index);
        if self.tiles.get(at).is_none_or(|tile| tile.index != index) {
            reserve_one(self.tiles.len(), self.tiles.capacity(), |more| self.tiles.reserve_exact(more));
            self.tiles.insert(at, Tile { index, events: 0, sketch: S::default() });
            self.sketch_bytes += self.tiles[at].sketch.bytes();
        }
        let in_window = self.window.tiles.0 <= index && index <= self.window.tiles.1;
        let tile = &mut self.tiles[at];
        self.sketch_bytes -= tile.sketch.bytes();
        tile.events += u64::from(n);
        if in_window {
            self.window.events += u64::from(n);
        }
        tile.sketch.add(item, n, self.level, in_window.then_some(&mut self.window.contents));
        self.sketch_bytes += tile.sketch.bytes();
        while self.kept_bytes() > SKETCH_BYTES_MAX && self.shrink() {}
    }

    /// Drops tiles that no row can see any more.
    pub fn expire(&mut self, dead_at: i64) {
        self.dead_at = dead_at;
        // The first index that holds a time after `dead_at`.
        let first = dead_at.saturating_add(1).div_euclid(self.width);
        while let Some(tile) = self.tiles.pop_front_if(|tile| tile.index < first) {
            self.sketch_bytes -= tile.sketch.bytes();
            if !(self.window.tiles.0..=self.window.tiles.1).contains(&tile.index) {
                continue;
            } else if S::SUBTRACTS {
                self.window.events -= tile.events;
                tile.sketch.take_from(self.level, &mut self.window.contents);
            } else {
                self.window = Summary::new(self.level);
            }
        }
    }

    /// The window of a row at `time`.
    pub fn window(&mut self, time: i64) -> &Summary<S> {
        let (from, to) = self.range(time);
        let (old_from, old_to) = self.window.tiles;
        if (from, to) != (old_from, old_to) {
            if !S::SUBTRACTS || from > old_to || to < old_from {
                self.window = Summary::new(self.level);
            }
            let (old_from, old_to) = self.window.tiles;
            let Tiles { tiles, window, level, .. } = self;
            for tile in between(tiles, old_from.min(from), old_to.max(to)) {
                match ((old_from..=old_to).contains(&tile.index), (from..=to).contains(&tile.index)) {
                    (false, true) => {
                        window.events += tile.events;
                        tile.sketch.add_to(*level, &mut window.contents);
                    }
                    (true, false) => {
                        window.events -= tile.events;
                        tile.sketch.take_from(*level, &mut window.contents);
                    }
                    _ => {}
                }
            }
            window.tiles = (from, to);
        }
        &self.window
    }

    /// First and last tile of the window of a row at `time`.
    fn range(&self, time: i64) -> (i64, i64) {
        let first = time.saturating_sub(self.within).saturating_add(1);
        (first.div_euclid(self.width), time.div_euclid(self.width))
    }

    /// The tiles of the window of a row at `time`, with the time each begins.
    pub fn of_window(&self, time: i64) -> impl Iterator<Item = (i64, &S)> {
        let (from, to) = self.range(time);
        between(&self.tiles, from, to).map(|tile| (tile.index.saturating_mul(self.width), &tile.sketch))
    }

    /// Every window that has this many tiles or fewer between two of them has one of the two.
    pub(super) fn tiles_spanned(&self) -> i64 {
        (self.within - 1) / self.width
    }

    /// No window ends in a tile before this.
    pub(super) fn live_tile(&self) -> i64 {
        self.dead_at.saturating_add(self.within).div_euclid(self.width)
    }

    /// Heap bytes, about.
    pub fn bytes(&self) -> usize {
        self.kept_bytes() + S::window_bytes(&self.window.contents)
    }

    /// What the limit is on.
    fn kept_bytes(&self) -> usize {
        self.sketch_bytes + self.tile_bytes()
    }

    fn tile_bytes(&self) -> usize {
        reserved::<Tile<S>>(self.tiles.len())
    }

    /// Gives up some precision; false if there is none left to give.
    fn shrink(&mut self) -> bool {
        let too_many = self.tile_bytes() > SKETCH_BYTES_MAX / 2;
        let its_turn = S::WIDENS && self.level > self.doublings && self.has_neighbours();
        let shrunk = (too_many || its_turn) && self.join_neighbours() || S::coarsen(self) || self.join_neighbours();
        self.sketch_bytes = self.tiles.iter().map(|tile| tile.sketch.bytes()).sum();
        self.window = Summary::new(self.level);
        shrunk
    }

    /// Whether a good part of the tiles would join another.
    fn has_neighbours(&self) -> bool {
        let halves = |tile: &Tile<S>| tile.index.div_euclid(2);
        let joining = self.tiles.iter().zip(self.tiles.iter().skip(1)).filter(|(a, b)| halves(a) == halves(b)).count();
        joining * 4 >= self.tiles.len()
    }

    fn join_neighbours(&mut self) -> bool {
        if self.tiles.len() < 2 || self.width > i64::MAX / 2 {
            return false;
        }
        self.width *= 2;
        self.doublings += 1;
        let mut joined: VecDeque<Tile<S>> = VecDeque::with_capacity(self.tiles.len());
        for mut tile in self.tiles.drain(..) {
            tile.index = tile.index.div_euclid(2);
            match joined.back_mut() {
                Some(last) if last.index == tile.index => {
                    last.events += tile.events;
                    last.sketch.join(tile.sketch, self.level);
                }
                _ => joined.push_back(tile),
            }
        }
        joined.shrink_to_fit();
        self.tiles = joined;
        true
    }
}

wire!(Tile<S> { index, events, sketch });

/// The window last asked for is left out: it is summed up anew.
impl<S: Sketch> Wire for Tiles<S> {
    fn put(&self, out: &mut Vec<u8>) {
        self.within.put(out);
        self.width.put(out);
        self.level.put(out);
        self.doublings.put(out);
        self.newest.put(out);
        self.dead_at.put(out);
        self.tiles.put(out);
    }
    fn take(from: &mut Taker<'_>) -> Result<Self, Damaged> {
        let (within, width): (i64, i64) = (from.take()?, from.take()?);
        let (level, doublings): (u8, u8) = (from.take()?, from.take()?);
        let (newest, dead_at) = (from.take()?, from.take()?);
        if within <= 0 || width <= 0 || level > 24 {
            return Err(Damaged);
        }
        let tiles: VecDeque<Tile<S>> = from.take()?;
        let sketch_bytes = tiles.iter().map(|tile| tile.sketch.bytes()).sum();
        Ok(Tiles { within, width, level, doublings, tiles, sketch_bytes, newest, dead_at, window: Summary::new(level) })
    }
}

impl<S: Sketch> Summary<S> {
    fn new(level: u8) -> Summary<S> {
        Summary { tiles: (0, -1), level, events: 0, contents: S::Summary::default() }
    }
}

fn between<S>(tiles: &VecDeque<Tile<S>>, from: i64, to: i64) -> impl Iterator<Item = &Tile<S>> {
    let first = tiles.partition_point(|tile| tile.index < from);
    tiles.range(first..).take_while(move |tile| tile.index <= to)
}

/// No sketch at all, for a measure of which tiles only count events.
#[derive(Default)]
pub struct Nothing;

impl Wire for Nothing {
    fn put(&self, _: &mut Vec<u8>) {}
    fn take(_: &mut Taker<'_>) -> Result<Self, Damaged> {
        Ok(Nothing)
    }
}

impl Sketch for Nothing {
    type Item = ();
    type Summary = ();
    const SUBTRACTS: bool = true;
    const WIDENS: bool = false;
    fn add(&mut self, (): (), _n: u32, _level: u8, _window: Option<&mut ()>) {}
    fn add_to(&self, _level: u8, (): &mut ()) {}
    fn take_from(&self, _level: u8, (): &mut ()) {}
    fn join(&mut self, Nothing: Nothing, _level: u8) {}
    fn coarsen(_tiles: &mut Tiles<Nothing>) -> bool {
        false
    }
    fn bytes(&self) -> usize {
        0
    }
    fn window_bytes((): &()) -> usize {
        0
    }
}

/// Bytes of a list of `len` items that grows by [`reserve_one`]: an eighth is the most that lies idle. The limit is
/// kept on this and not on the capacity, which would depend on the list's past.
pub fn reserved<T>(len: usize) -> usize {
    (len + len / 8 + 4) * size_of::<T>()
}

/// Makes room for one more item, through `reserve_exact`.
pub fn reserve_one(len: usize, capacity: usize, reserve_exact: impl FnOnce(usize)) {
    if len == capacity {
        reserve_exact(len / 8 + 1);
    }
}

/// `vec.insert` with the growth that [`reserved`] counts on.
pub fn insert_tight<T>(vec: &mut Vec<T>, at: usize, item: T) {
    reserve_one(vec.len(), vec.capacity(), |more| vec.reserve_exact(more));
    vec.insert(at, item);
}

#[cfg(test)]
pub mod tests {
    use super::buckets::Buckets;
    use super::counts::Counts;
    use super::hll::Hll;
    use super::*;

    /// All different values, and the times of a lateness of many windows, in no order; and one dated far ahead.
    pub fn stays_bounded<S: Sketch>(item: impl Fn(u64) -> S::Item) {
        const WITHIN: i64 = 1_000_000;
        for lateness in [0, WITHIN, 300 * WITHIN] {
            let mut tiles: Tiles<S> = Tiles::new(&Window { within: WITHIN, lateness, min_events: 0, exact_up_to: 0 });
            for n in 0..200_000u64 {
                let scattered = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
                let clock = n as i64 * 100;
                let time = clock - scattered as i64 % (lateness + 1);
                tiles.expire(clock - lateness - WITHIN);
                tiles.add(if n == 1000 { 1 << 55 } else { time }, item(n), 1);
                // Not each time: scattered windows are summed anew.
                if n % 16 == 0 {
                    tiles.window(time);
                }
                assert!(tiles.kept_bytes() <= SKETCH_BYTES_MAX, "lateness {lateness}, event {n}: {}", tiles.kept_bytes());
                if n % 1000 == 0 {
                    let counted: usize = tiles.tiles.iter().map(|tile| tile.sketch.bytes()).sum();
                    assert_eq!(tiles.sketch_bytes, counted);
                    assert!(tiles.tiles.capacity() * size_of::<Tile<S>>() <= tiles.tile_bytes());
                }
            }
        }
    }

    #[test]
    fn all_tiles_of_a_slot_stay_bounded() {
        stays_bounded::<Hll>(u128::from);
        stays_bounded::<Counts>(u128::from);
        stays_bounded::<Nothing>(|_| ());
        stays_bounded::<Buckets>(|n| f64::from_bits(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) & !(1 << 62)));
    }
}
