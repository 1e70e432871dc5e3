package largepages

import "syscall"

// prefer takes addresses, not a pointer, since it reads and writes nothing there.
// That some of the range is not mapped, or the kernel without large pages, is no
// error: nothing is promised.
func prefer(address, bytes uintptr) {
	_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, address, bytes, syscall.MADV_HUGEPAGE)
}
