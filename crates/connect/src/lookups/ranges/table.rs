//! Ranges made disjoint, so that an address is found by its last start: for IPv4, within those of its upper 16 bits.

use crate::lookups::columns::{Columns, NO_ROW};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// An immutable table of ranges.
#[derive(Debug)]
pub(super) struct Table {
    v4: Disjoint<u32>,
    /// For each value of the upper 16 bits, the first start that is not below it; one more for the end.
    v4_index: Vec<u32>,
    v6: Disjoint<u128>,
    pub columns: Columns,
}

/// A range, both ends included, and its row in the columns.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Range<A> {
    pub start: A,
    pub end: A,
    pub row: u32,
}

impl Table {
    pub fn new(v4: Vec<Range<u32>>, v6: Vec<Range<u128>>, columns: Columns) -> Table {
        let v4 = Disjoint::new(v4, |range| (range.end - range.start) as u128, |end| end.checked_add(1));
        let v6 = Disjoint::new(v6, |range| range.end - range.start, |end| end.checked_add(1));
        let mut v4_index = Vec::with_capacity(65_537);
        let mut next = 0;
        for upper in 0..=65_536u64 {
            while v4.starts.get(next).is_some_and(|start| (*start as u64) < upper << 16) {
                next += 1;
            }
            v4_index.push(next as u32);
        }
        Table { v4, v4_index, v6, columns }
    }

    /// The row of the range that holds the address.
    pub fn find_v4(&self, address: u32) -> u32 {
        let upper = (address >> 16) as usize;
        let (low, high) = (self.v4_index[upper] as usize, self.v4_index[upper + 1] as usize);
        let n = low + self.v4.starts[low..high].partition_point(|start| *start <= address);
        if n == 0 { NO_ROW } else { self.v4.rows[n - 1] }
    }

    pub fn find_v6(&self, address: u128) -> u32 {
        let n = self.v6.starts.partition_point(|start| *start <= address);
        if n == 0 { NO_ROW } else { self.v6.rows[n - 1] }
    }
}

/// Segments, each reaching to the next one's start; gaps are segments without a row.
#[derive(Debug)]
struct Disjoint<A> {
    starts: Vec<A>,
    rows: Vec<u32>,
}

impl<A: Copy + Ord> Disjoint<A> {
    /// Of overlapping ranges the shortest wins, then the one given last. A sweep over all starts and ends, with the
    /// ranges that are open in a heap; those that have ended are dropped when they come to its top.
    fn new(ranges: Vec<Range<A>>, length: fn(&Range<A>) -> u128, after: fn(A) -> Option<A>) -> Disjoint<A> {
        let mut by_start: Vec<usize> = (0..ranges.len()).collect();
        by_start.sort_unstable_by_key(|&i| ranges[i].start);
        let mut bounds: Vec<A> = ranges.iter().flat_map(|r| [Some(r.start), after(r.end)]).flatten().collect();
        bounds.sort_unstable();
        bounds.dedup();
        let mut disjoint = Disjoint { starts: Vec::new(), rows: Vec::new() };
        let mut open: BinaryHeap<(Reverse<u128>, usize)> = BinaryHeap::new();
        let mut waiting = by_start.into_iter().peekable();
        for at in bounds {
            while let Some(i) = waiting.next_if(|&i| ranges[i].start == at) {
                open.push((Reverse(length(&ranges[i])), i));
            }
            while open.peek().is_some_and(|(_, top)| ranges[*top].end < at) {
                open.pop();
            }
            let row = open.peek().map_or(NO_ROW, |(_, top)| ranges[*top].row);
            if disjoint.rows.last() != Some(&row) {
                disjoint.starts.push(at);
                disjoint.rows.push(row);
            }
        }
        disjoint
    }
}
