//! Editing a row allocates nothing once its memory has seen rows as long.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use batchwright_text::augment::{Augmenter, Edited, Place, Recipe};

struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is handed to the system's allocator as it came; counting touches a thread's own
// cell alone, which needs no memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that ends has no cell any more, and nobody asks for its count.
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps what `GlobalAlloc` asks, which is what the system's asks.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the memory came from `alloc` above, with that layout.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// Without it millions of rows would spend their time in the allocator.
#[test]
fn a_row_allocates_nothing_once_memory_is_warm() {
    let every = include_str!("../../../../benches/recipes/every.toml");
    let protecting = format!("{every}\n[protect]\nwords = [\"Berlin\"]\npatterns = ['[0-9]+']\n");
    let texts = [
        "01:ccinterview-02:ccinterview-03:ccinterview-04:ccinterview",
        "Please send THE Original receipt to Their office in 10115 Berlin.",
        "naïve café — 日本語 👩‍👩‍👧‍👦 e\u{301}te\u{301}, and Back again",
    ];
    for recipe in [every, &protecting] {
        let augmenter = Augmenter::new(&Recipe::parse(recipe).unwrap(), 7).unwrap();
        let mut edited = Edited::default();
        let mut pass = |epoch| {
            for row in 0..3000 {
                let place = Place {
                    epoch,
                    row,
                    copy: 0,
                };
                augmenter.edit(place, texts[row as usize % texts.len()], &mut edited);
            }
        };
        pass(0);
        let before = COUNT.get();
        pass(0);
        assert_eq!(COUNT.get() - before, 0);
    }
}
