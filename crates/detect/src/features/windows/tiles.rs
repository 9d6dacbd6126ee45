//! A window of a key under attack: whole tiles instead of entries, so that memory is bounded by time, not by events.

use super::log::Log;
use super::{Window, WindowMeasure};
use ouzel_core::wire;
use ouzel_core::wire::{Damaged, Taker, Wire};
use std::collections::VecDeque;

/// Tiles that hold anything, in order. At most `256 * (1 + lateness / within) + 2` of them, plus those ahead of the clock.
#[derive(Default)]
pub(super) struct Tiles(VecDeque<Tile>);

struct Tile {
    /// Covers times in `[number * width, (number + 1) * width)`.
    number: i64,
    count: u64,
    sum: i128,
}

impl Tiles {
    pub fn of_log(log: &Log, m: &WindowMeasure, sum: Option<usize>, live_from: i64) -> Tiles {
        let mut tiles = Tiles::default();
        for number in log.numbers() {
            let t = log.time(number);
            if t > m.window.dead_at(live_from) {
                let (count, sum) = log.lane(number, m.lane, sum);
                tiles.add_many(&m.window, t, u64::from(count), i128::from(sum));
            }
        }
        tiles
    }

    pub fn add(&mut self, window: &Window, t: i64, count: u32, sum: i64) {
        self.add_many(window, t, u64::from(count), i128::from(sum));
    }

    fn add_many(&mut self, window: &Window, t: i64, count: u64, sum: i128) {
        let number = t.div_euclid(window.tile_width());
        let at = match self.0.back() {
            Some(last) if last.number < number => self.0.len(),
            None => 0,
            _ => self.0.partition_point(|tile| tile.number < number),
        };
        match self.0.get_mut(at) {
            Some(tile) if tile.number == number => {
                tile.count += count;
                tile.sum += sum;
            }
            _ => self.0.insert(at, Tile { number, count, sum }),
        }
    }

    /// Whole tiles from that of the window's first instant to that of its last.
    pub fn query(&self, t: i64, window: &Window) -> (u64, i128) {
        let width = window.tile_width();
        let (first, last) = (t.saturating_sub(window.within).saturating_add(1).div_euclid(width), t.div_euclid(width));
        let from = self.0.partition_point(|tile| tile.number < first);
        self.0
            .range(from..)
            .take_while(|tile| tile.number <= last)
            .fold((0, 0), |(count, sum), tile| (count + tile.count, sum + tile.sum))
    }

    pub fn drop_dead(&mut self, window: &Window, live_from: i64) {
        let dead = window.dead_at(live_from);
        while self.0.front().is_some_and(|tile| (tile.number + 1).saturating_mul(window.tile_width()) - 1 <= dead) {
            self.0.pop_front();
        }
    }
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    pub fn bytes(&self) -> usize {
        self.0.capacity() * size_of::<Tile>()
    }
}

wire!(Tile { number, count, sum });

impl Wire for Tiles {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }
    fn take(from: &mut Taker<'_>) -> Result<Self, Damaged> {
        Ok(Tiles(from.take()?))
    }
}
