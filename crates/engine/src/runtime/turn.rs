//! Keeps steps with state in log order while batches are worked on by several threads: batch `n` has its turn at a step
//! after batch `n - 1`, whoever holds it.

use ouzel_core::{Error, Result};
use std::ops::{Deref, DerefMut};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError};

/// A step's state, handed out in order.
pub struct Turn<T> {
    inner: Mutex<Inner<T>>,
    moved: Condvar,
}

struct Inner<T> {
    next: u64,
    /// A batch was lost: nobody's turn comes any more.
    broken: bool,
    state: T,
}

/// The state, for the one batch whose turn it is. The next batch's turn comes when it is dropped.
pub struct Held<'a, T> {
    guard: MutexGuard<'a, Inner<T>>,
    moved: &'a Condvar,
}

impl<T> Turn<T> {
    pub fn new(state: T) -> Turn<T> {
        Turn { inner: Mutex::new(Inner { next: 0, broken: false, state }), moved: Condvar::new() }
    }

    /// Waits for the turn of batch `number`. Batches are numbered from 0 without a gap.
    pub fn take(&self, number: u64) -> Result<Held<'_, T>> {
        let mut guard = self.lock();
        while guard.next != number && !guard.broken {
            guard = self.moved.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        if guard.broken {
            return Err(Error::internal("another thread failed"));
        }
        Ok(Held { guard, moved: &self.moved })
    }

    /// Ends all waiting: called when a thread fails, so that no other waits for its batch.
    pub fn break_off(&self) {
        self.lock().broken = true;
        self.moved.notify_all();
    }

    /// Looks at the state between turns, if nobody holds it.
    pub fn peek<R>(&self, look: impl FnOnce(&mut T) -> R) -> Option<R> {
        match self.inner.try_lock() {
            Ok(mut guard) => Some(look(&mut guard.state)),
            Err(TryLockError::Poisoned(_) | TryLockError::WouldBlock) => None,
        }
    }

    /// Uses the state while no batch has its turn.
    pub fn visit<R>(&self, use_it: impl FnOnce(&mut T) -> R) -> R {
        use_it(&mut self.lock().state)
    }

    pub fn into_inner(self) -> T {
        self.inner.into_inner().unwrap_or_else(PoisonError::into_inner).state
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Deref for Held<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.guard.state
    }
}
impl<T> DerefMut for Held<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard.state
    }
}
impl<T> Drop for Held<'_, T> {
    fn drop(&mut self) {
        self.guard.next += 1;
        self.moved.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_come_in_order_and_break_off() {
        let turn = Turn::new(Vec::new());
        std::thread::scope(|s| {
            for start in [1u64, 0] {
                let turn = &turn;
                s.spawn(move || {
                    for n in (start..100).step_by(2) {
                        turn.take(n).expect("unbroken").push(n);
                    }
                });
            }
        });
        assert!(turn.peek(|v| v.iter().copied().eq(0..100)).expect("free"));
        turn.break_off();
        assert!(turn.take(500).is_err());
    }
}
