//! Which keys are wanted at which depth, and which key came after which.

use crate::codecs::table::Raw;
use hashbrown::HashMap;
use ouzel_core::{Path, path::Step};
use std::ops::Range;

/// Distinct keys of one object whose order is remembered; a record of random keys must not fill the memory.
const KEYS_LEARNT_MAX: usize = 1024;
/// Entry before an object's first key. It has no separator, so it is never guessed right.
pub(super) const BEFORE: usize = 0;
/// Entry of keys that are not remembered.
const UNLEARNT: usize = 1;
pub(super) const ROOT: usize = 0;

/// The wanted paths as a tree, with what was learnt of the objects on them.
pub(super) struct Shape {
    pub nodes: Vec<Node>,
}

/// A value on a wanted path.
#[derive(Default)]
pub(super) struct Node {
    /// Slot of the value itself; the spare one if only parts of it are wanted.
    pub slot: usize,
    /// Slots of this value and all its parts.
    pub slots: Range<usize>,
    entries: Vec<Entry>,
    by_key: HashMap<Box<[u8]>, usize>,
    pub keys: Vec<(Box<[u8]>, usize)>,
    pub indices: Vec<(usize, usize)>,
    wanted: bool,
}

/// A key of an object.
pub(super) struct Entry {
    /// All bytes from the value before to this key's value, as they were last seen: `,"status":`.
    lead: Box<[u8]>,
    /// The first 16 of them, and which of the 16 count.
    head: u128,
    mask: u128,
    /// The entry that came after this one last time.
    next: usize,
    pub target: Target,
}

/// What is to be done with the value of a key.
#[derive(Clone, Copy)]
pub(super) enum Target {
    /// Note it in this slot (the spare one if nobody wants it).
    Slot(usize),
    /// Look for parts of it.
    Node(usize),
}

impl Shape {
    /// The tree, the slot of each path, and how many slots there are; the slot of that number is the spare one.
    pub fn new<'a>(paths: impl Iterator<Item = &'a Path>) -> (Shape, Vec<usize>, usize) {
        let mut shape = Shape { nodes: vec![Node::default()] };
        let nodes: Vec<usize> = paths.map(|path| shape.insert(path)).collect();
        let mut width = 0;
        shape.number(ROOT, &mut width);
        for node in &mut shape.nodes {
            if !node.wanted {
                node.slot = width;
            }
        }
        for i in 0..shape.nodes.len() {
            shape.prepare(i, width);
        }
        let slots = nodes.iter().map(|node| shape.nodes[*node].slot).collect();
        (shape, slots, width)
    }

    fn insert(&mut self, path: &Path) -> usize {
        let mut at = ROOT;
        for step in &path.0 {
            let new = self.nodes.len();
            let node = &mut self.nodes[at];
            let found = match step {
                Step::Key(key) => node.keys.iter().find(|(k, _)| **k == *key.as_bytes()).map(|(_, node)| *node),
                Step::Index(i) => node.indices.iter().find(|(j, _)| j == i).map(|(_, node)| *node),
            };
            at = found.unwrap_or(new);
            if found.is_none() {
                match step {
                    Step::Key(key) => node.keys.push((key.as_bytes().into(), new)),
                    Step::Index(i) => node.indices.push((*i, new)),
                }
                self.nodes.push(Node::default());
            }
        }
        self.nodes[at].wanted = true;
        at
    }

    /// Numbers the slots so that those of a value and its parts are neighbours.
    fn number(&mut self, at: usize, next: &mut usize) {
        let start = *next;
        if self.nodes[at].wanted {
            self.nodes[at].slot = *next;
            *next += 1;
        }
        let node = &self.nodes[at];
        let parts: Vec<usize> = node.keys.iter().map(|(_, n)| *n).chain(node.indices.iter().map(|(_, n)| *n)).collect();
        for part in parts {
            self.number(part, next);
        }
        self.nodes[at].slots = start..*next;
    }

    fn prepare(&mut self, at: usize, spare: usize) {
        let mut entries = vec![Entry::new(Target::Slot(spare)), Entry::new(Target::Slot(spare))];
        let mut by_key = HashMap::new();
        for (key, part) in &self.nodes[at].keys {
            by_key.insert(key.clone(), entries.len());
            entries.push(Entry::new(self.target(*part)));
        }
        self.nodes[at].entries = entries;
        self.nodes[at].by_key = by_key;
    }

    pub fn target(&self, node: usize) -> Target {
        let it = &self.nodes[node];
        if it.keys.is_empty() && it.indices.is_empty() { Target::Slot(it.slot) } else { Target::Node(node) }
    }
}

impl Node {
    /// The entry that should come after `previous`, if the bytes at `at` are its separator and key; and their length.
    #[inline(always)]
    pub fn guess(&self, previous: usize, data: &[u8], at: usize) -> Option<(usize, usize)> {
        let next = self.entries[previous].next;
        let entry = &self.entries[next];
        let window: [u8; 16] = data.get(at..at + 16)?.try_into().ok()?;
        let length = entry.lead.len();
        if (u128::from_le_bytes(window) ^ entry.head) & entry.mask != 0 {
            return None;
        }
        if length > 16 && data.get(at + 16..at + length) != Some(&entry.lead[16..]) {
            return None;
        }
        (length != 0).then_some((next, length))
    }

    #[inline(always)]
    pub fn target(&self, entry: usize) -> Target {
        self.entries[entry].target
    }

    /// The entry of a key that was not guessed. `lead` is remembered as what stands before its value.
    #[cold]
    pub fn learn(&mut self, previous: usize, key: &[u8], lead: &[u8]) -> usize {
        let entry = match self.by_key.get(key) {
            Some(entry) => *entry,
            None if self.entries.len() < KEYS_LEARNT_MAX => {
                self.by_key.insert(key.into(), self.entries.len());
                let spare = self.entries[UNLEARNT].target;
                self.entries.push(Entry::new(spare));
                self.entries.len() - 1
            }
            None => return UNLEARNT,
        };
        self.entries[entry].set_lead(lead);
        self.entries[previous].next = entry;
        entry
    }
}

impl Entry {
    fn new(target: Target) -> Entry {
        Entry { lead: Box::default(), head: 0, mask: 0, next: BEFORE, target }
    }

    fn set_lead(&mut self, lead: &[u8]) {
        let mut head = [0; 16];
        let count = lead.len().min(16);
        head[..count].copy_from_slice(&lead[..count]);
        self.head = u128::from_le_bytes(head);
        self.mask = if count == 16 { u128::MAX } else { (1 << (8 * count)) - 1 };
        self.lead = lead.into();
    }
}

/// Forgets what an earlier value of the same key left.
pub(super) fn clear(row: &mut [Raw], slots: Range<usize>) {
    if let Some(slots) = row.get_mut(slots) {
        slots.fill(Raw::MISSING);
    }
}
