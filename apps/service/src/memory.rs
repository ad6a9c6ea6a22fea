//! Memory that only the start needed.

/// Gives back to the system what the start used and freed. Describing the routes for the OpenAPI document takes several times as much
/// memory as all that stays, and the C library keeps what lies between things that are still used, for it cannot know that the
/// process will never need so much again. Another allocator than the C library's has nothing there, and gives back by itself.
pub(crate) fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it takes no pointer, and touches only memory that is free, under the allocator's own locks.
    unsafe {
        libc::malloc_trim(0);
    }
}
