package child

import (
	"bufio"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// cpuTime is what this process has used so far, user and system.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// peakMemory is the most that was resident at once, in bytes. Linux's ru_maxrss
// begins with what the parent had at the fork, so its own file is asked first.
func peakMemory() int64 {
	if kib, ok := procField("/proc/self/status", "VmHWM:"); ok {
		return kib * 1024
	}
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	if runtime.GOOS == "darwin" {
		return int64(u.Maxrss) // bytes there
	}
	return int64(u.Maxrss) * 1024
}

// diskWritten is what this process has caused to be written to disks, also if
// it still is in the system's cache; -1 where the system does not tell.
func diskWritten() int64 {
	if n, ok := procField("/proc/self/io", "write_bytes:"); ok {
		return n
	}
	return -1
}

// procField reads the first number behind a line's first word.
func procField(path, word string) (int64, bool) {
	f, err := os.Open(path)
	if err != nil {
		return 0, false
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		fields := strings.Fields(s.Text())
		if len(fields) >= 2 && fields[0] == word {
			n, err := strconv.ParseInt(fields[1], 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
