//! Edge file: the commands of bpf(2) that aya has no call for.

use std::ffi::CString;
use std::io;
use std::mem::offset_of;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use aya::maps::{MapData, MapError, MapType};

const MAP_LOOKUP_ELEM: libc::c_long = 1;
const MAP_GET_NEXT_KEY: libc::c_long = 4;
const OBJ_GET: libc::c_long = 7;
const PROG_TEST_RUN: libc::c_long = 10;
const MAP_LOOKUP_BATCH: libc::c_long = 24;
const LINK_DETACH: libc::c_long = 34;

/// `union bpf_attr` for `BPF_MAP_LOOKUP_BATCH`.
#[repr(C)]
struct BatchAttr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// `union bpf_attr` for `BPF_MAP_LOOKUP_ELEM` and `BPF_MAP_GET_NEXT_KEY`, where `value` is the next key.
#[repr(C)]
struct ElementAttr {
    map_fd: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// `union bpf_attr` for `BPF_PROG_TEST_RUN`, up to the last field that is used.
#[repr(C)]
struct TestRunAttr {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
}

/// `union bpf_attr` for `BPF_OBJ_GET`, up to the last field that is used.
#[repr(C)]
struct ObjectAttr {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

const _: () = assert!(size_of::<BatchAttr>() == 56 && offset_of!(BatchAttr, flags) == 48);
const _: () = assert!(size_of::<ElementAttr>() == 32 && size_of::<TestRunAttr>() == 40);
const _: () = assert!(size_of::<ObjectAttr>() == 16);

/// Longest key of a map that is walked.
const KEY_BYTES_MAX: usize = 64;

/// Where a walk through a map is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// At its beginning.
    Start,
    /// Behind what was read; the kernel's own note for batches, or a key.
    Behind([u8; KEY_BYTES_MAX]),
    /// At its end.
    End,
}

impl Cursor {
    /// The kernel takes null for the beginning.
    fn pointer(&self) -> u64 {
        match self {
            Self::Behind(note) => note.as_ptr() as u64,
            Self::Start | Self::End => 0,
        }
    }
}

/// Entries of a hash map, read into buffers.
#[derive(Debug)]
pub struct Entries {
    map: MapData,
    key_bytes: usize,
    value_bytes: usize,
    keys: Vec<u8>,
    values: Vec<u8>,
    capacity: u32,
    count: u32,
}

impl Entries {
    /// Room for `capacity` entries of this map.
    ///
    /// # Errors
    ///
    /// When the map cannot be read this way.
    pub fn new(map: MapData, capacity: u32) -> Result<Self, MapError> {
        let info = map.info()?;
        let (key_bytes, value_bytes) = (info.key_size() as usize, info.value_size() as usize);
        // A value for each CPU would be longer than the kernel says here.
        let plain = matches!(info.map_type()?, MapType::Hash | MapType::LruHash);
        if !plain || !(1..=KEY_BYTES_MAX).contains(&key_bytes) || value_bytes == 0 {
            return Err(MapError::InvalidMapType { map_type: info.map_type()? as u32 });
        }
        let bytes = |size: usize| vec![0; size * capacity as usize];
        let (keys, values) = (bytes(key_bytes), bytes(value_bytes));
        Ok(Self { map, key_bytes, value_bytes, keys, values, capacity, count: 0 })
    }

    /// Keys and values that were read.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let keys = self.keys.chunks_exact(self.key_bytes);
        keys.zip(self.values.chunks_exact(self.value_bytes)).take(self.count as usize)
    }

    /// Reads on, as many entries as there is room for.
    ///
    /// # Errors
    ///
    /// What the kernel says; `EINVAL` or `ENOTSUPP` if it knows no batches for this kind of map.
    pub fn read_batch(&mut self, cursor: Cursor) -> io::Result<Cursor> {
        let mut note = [0; KEY_BYTES_MAX];
        let mut attr = BatchAttr {
            in_batch: cursor.pointer(),
            out_batch: note.as_mut_ptr() as u64,
            keys: self.keys.as_mut_ptr() as u64,
            values: self.values.as_mut_ptr() as u64,
            count: self.capacity,
            map_fd: self.map.fd().as_fd().as_raw_fd().cast_unsigned(),
            elem_flags: 0,
            flags: 0,
        };
        self.count = 0;
        // SAFETY: the buffers hold `count` keys and values of the sizes that the kernel has told; the notes are as long as
        // the longest key, and the kernel's are no longer.
        match unsafe { bpf(MAP_LOOKUP_BATCH, &mut attr) } {
            Ok(_) => {
                self.count = attr.count.min(self.capacity);
                Ok(Cursor::Behind(note))
            }
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                self.count = attr.count.min(self.capacity);
                Ok(Cursor::End)
            }
            Err(error) => Err(error),
        }
    }

    /// As [`Entries::read_batch`], entry by entry, which every kernel can. Where the entry that the cursor names has gone
    /// meanwhile, the kernel begins anew: a walk needs a limit of its own.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn read_singly(&mut self, mut cursor: Cursor) -> io::Result<Cursor> {
        let map_fd = self.map.fd().as_fd().as_raw_fd().cast_unsigned();
        self.count = 0;
        for (key, value) in
            self.keys.chunks_exact_mut(self.key_bytes).zip(self.values.chunks_exact_mut(self.value_bytes))
        {
            let mut note = [0_u8; KEY_BYTES_MAX];
            let next = note.as_mut_ptr() as u64;
            let mut attr = ElementAttr { map_fd, pad: 0, key: cursor.pointer(), value: next, flags: 0 };
            // SAFETY: both keys are at least as long as those of the map.
            match unsafe { bpf(MAP_GET_NEXT_KEY, &mut attr) } {
                Ok(_) => {}
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(Cursor::End),
                Err(error) => return Err(error),
            }
            cursor = Cursor::Behind(note);
            let (key_at, value_at) = (note.as_ptr() as u64, value.as_mut_ptr() as u64);
            let mut attr = ElementAttr { map_fd, pad: 0, key: key_at, value: value_at, flags: 0 };
            // SAFETY: as above, and the value is as long as the map's.
            match unsafe { bpf(MAP_LOOKUP_ELEM, &mut attr) } {
                Ok(_) => {}
                // Gone since: what the cursor names is gone too, so this walk is over.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(Cursor::End),
                Err(error) => return Err(error),
            }
            key.iter_mut().zip(note).for_each(|(to, from)| *to = from);
            self.count += 1;
        }
        Ok(cursor)
    }
}

/// Runs a program once on `packet` (`BPF_PROG_TEST_RUN`); gives its return value.
///
/// # Errors
///
/// What the kernel says.
pub fn run_program(program: BorrowedFd<'_>, packet: &[u8]) -> io::Result<u32> {
    let mut attr = TestRunAttr {
        prog_fd: program.as_raw_fd().cast_unsigned(),
        retval: 0,
        data_size_in: u32::try_from(packet.len()).unwrap_or(u32::MAX),
        data_size_out: 0,
        data_in: packet.as_ptr() as u64,
        data_out: 0,
        repeat: 1,
        duration: 0,
    };
    // SAFETY: the kernel reads the packet, of the length that is given, and writes nowhere but to `attr`.
    unsafe { bpf(PROG_TEST_RUN, &mut attr) }?;
    Ok(attr.retval)
}

/// Detaches the link that is pinned at a path (`BPF_LINK_DETACH`): no call meets its program afterwards. Of one whose pin is
/// only removed the kernel lets go some time later.
///
/// # Errors
///
/// What the kernel says; also when something else than a link is pinned there.
pub fn detach_link(path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attr = ObjectAttr { pathname: path.as_ptr() as u64, bpf_fd: 0, file_flags: 0 };
    // SAFETY: the path is a string with an end, which lives until the call is over.
    let fd = unsafe { bpf(OBJ_GET, &mut attr) }?;
    let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel has just opened it for this call alone.
    let link = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut link_fd = link.as_raw_fd();
    // SAFETY: the attribute is the descriptor alone, without a pointer.
    unsafe { bpf(LINK_DETACH, &mut link_fd) }?;
    Ok(())
}

/// Calls bpf(2).
///
/// # Safety
///
/// Every pointer in `attr` must be valid for what the command does with it.
unsafe fn bpf<T>(command: libc::c_long, attr: &mut T) -> io::Result<libc::c_long> {
    let attr: *mut T = attr;
    // SAFETY: `attr` is as long as is said, and the caller vouches for what it points to.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command, attr, size_of::<T>()) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}
