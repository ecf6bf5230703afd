//! The C stack that Lua runs on.
//!
//! LuaJIT limits its own stack, in each coroutine, and does not look at the C stack below. Where a C function
//! calls Lua, which calls that function again, the limit is reached after some 5,000 levels: of up to
//! 9 KB each (`string.gsub` with a function that calls `string.gsub`), which is more than most threads
//! have; and coroutines within coroutines have no limit at all. So a mistake in a script could end the
//! process. Besides, an error at such a depth takes seconds to be raised, since LuaJIT looks at all
//! Lua frames for each C frame that it unwinds.
//!
//! So C functions of Lua's library that call Lua may be nested to the depth that Lua 5.1 has, whichever
//! coroutines they are in; and the program runs scripts on a stack that is large enough even for
//! those that nobody counts (of native modules).

use std::cell::RefCell;

use rlimit::Resource;

/// The stack that the program asks for. Only what is used of it takes memory.
const SIZE: usize = 64 << 20;
/// How deep C functions that call Lua may be nested: `LUAI_MAXCCALLS` of Lua 5.1.
const MAX_NESTED: usize = 200;

thread_local! {
    /// Where in the stack the calls are that have not returned, as far as that is known.
    static CALLS: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// Runs a program with scripts on a stack that is large enough for everything that they do.
pub fn with_large_stack<R>(program: impl FnOnce() -> R) -> R {
    // (The room for the stack is not there for the asking where little address space is.)
    match Resource::AS
        .get_soft()
        .is_ok_and(|limit| limit / 8 < SIZE as u64)
    {
        true => program(),
        false => stacker::maybe_grow(SIZE, SIZE, program),
    }
}

/// Notes that a C function is about to call Lua, and returns whether such calls are not nested too
/// deep.
///
/// Nobody tells when a call is over, as it may end by an error. But the stack grows downwards: whatever
/// has been noted at this place or below is over.
pub fn may_nest() -> bool {
    let here = here();
    CALLS.with_borrow_mut(|calls| {
        while calls.last().is_some_and(|call| *call <= here) {
            calls.pop();
        }
        if calls.len() >= MAX_NESTED {
            return false;
        }
        calls.push(here);
        true
    })
}

/// An address in the stack.
#[inline(never)]
fn here() -> usize {
    let on_stack = 0_u8;
    (&raw const on_stack).addr()
}
