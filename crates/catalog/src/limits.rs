use crate::Space;

/// How much of a layer and of an image is read and kept before a catalogue is cut off and says so.
///
/// What is large is not in memory for several layers at once that are catalogued with the same limits or clones of them:
/// see [`Limits::space`]. How long a scan may take is no property of an image: whoever scans has a deadline.
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
    /// How large a file may be that a cataloguer reads, in bytes; a layer has one such file in memory at a time.
    pub file_bytes: u64,
    /// How large an rpm database may be, in bytes. It is held in memory as a whole, and every package in it takes about
    /// 50 KB. Beside a large window it is less: see [`Limits::large_bytes`].
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
    /// How many bytes the catalogues of one image's layers may have together, as JSON, since all are in memory when they
    /// are folded; from the layer that is over it on they are left out. A layer of a distribution has a few hundred
    /// kilobytes.
    pub image_bytes: u64,
    /// How large a window Zstandard may ask for, as a power of two in bytes. 25 (32 MiB) is what the encoders of
    /// container tools use at most; over 23 (8 MiB) layers take turns.
    pub zstd_window_log: u32,
    /// How many bytes of files over 1 MiB and of windows over 8 MiB are in memory at a time, over all layers that share
    /// `space`; a layer whose file does not fit waits for the others. A file in a layer that has such a window itself
    /// must fit beside it.
    pub large_bytes: u64,
    /// What layers that are catalogued at once share; clones of these limits share it, too.
    pub space: Space,
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
            image_bytes: 256 << 20,
            zstd_window_log: 25,
            large_bytes: 56 << 20,
            space: Space::default(),
        }
    }
}
