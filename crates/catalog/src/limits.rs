/// How much of one layer is read and kept before its catalogue is cut off and says so.
///
/// Every limit is for one layer, so memory does not grow with the image: a caller that catalogues `n` layers at once
/// needs `n` times the memory of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// How many bytes are inflated; a decompression bomb ends here.
    pub unpacked_bytes: u64,
    /// How many entries are read; each costs eight bytes of memory.
    pub entries: u64,
    /// How long a path may be, in bytes. Linux's own `PATH_MAX` is 4,096.
    pub path_bytes: usize,
    /// How many components a path may have.
    pub path_depth: usize,
    /// How long an extended header (PAX records, GNU long names) may be, in bytes. Go's `archive/tar`, by which
    /// container runtimes unpack layers, refuses those over 1 MiB.
    pub header_bytes: u64,
    /// How large a file may be that a cataloguer reads, in bytes; one such file is in memory at a time.
    pub file_bytes: u64,
    /// How large an rpm database may be, in bytes. It is held in memory as a whole, and every package in it takes about
    /// 50 KB.
    pub rpm_bytes: u64,
    /// How many bytes are kept at a time of what a program or an archive says of its packages: a list of modules, a
    /// manifest. Programs and archives themselves are looked through as they pass by and may be of any size.
    pub record_bytes: usize,
    /// How deep archives within archives are read (a jar in a war in an ear). Each level takes 100 KB.
    pub nested_depth: usize,
    /// How many bytes are unpacked of one archive and all that is within it.
    pub nested_bytes: u64,
    /// How many files of one archive, and of all that is within it, are looked at.
    pub nested_entries: u64,
    /// How many bytes of paths and facts are kept for the layer, about.
    pub kept_bytes: u64,
    /// How large a window Zstandard may ask for, as a power of two in bytes; 27 (128 MiB) is the format's usual maximum.
    pub zstd_window_log: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            unpacked_bytes: 64 << 30,
            entries: 2_000_000,
            path_bytes: 4_096,
            path_depth: 128,
            header_bytes: 1 << 20,
            file_bytes: 32 << 20,
            rpm_bytes: 48 << 20,
            record_bytes: 4 << 20,
            nested_depth: 4,
            nested_bytes: 4 << 30,
            nested_entries: 1_000_000,
            kept_bytes: 64 << 20,
            zstd_window_log: 27,
        }
    }
}
