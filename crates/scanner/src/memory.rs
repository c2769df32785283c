/// Has all threads share one of the allocator's arenas; to be called before there are threads.
///
/// By default GNU's allocator has an arena for each thread and keeps in each what was once freed there: of layers that
/// threads read in turn, with little of it in use at a time, many times the memory would stay. What one arena gains and
/// costs is in `docs/performance.md`. Other allocators are left as they are.
pub fn share_one_arena() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[expect(
        unsafe_code,
        reason = "nothing safe reaches this setting, which an environment would have to bring"
    )]
    // SAFETY: takes two numbers, and changes how later calls of the allocator choose an arena.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}
