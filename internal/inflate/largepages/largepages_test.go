package largepages_test

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"soci-index-builder/internal/inflate/largepages"
)

// The kernel's own table of this process says of what large pages are wanted.
func TestPrefer(t *testing.T) {
	if _, err := os.Stat("/sys/kernel/mm/transparent_hugepage"); err != nil {
		t.Skip("no large pages here: ", err)
	}
	type entry struct {
		name string
		size [5]int64
	}
	entries := make([]entry, 0, 100_000)
	largepages.Prefer(entries)
	b := make([]byte, 3*largepages.Size)
	largepages.Prefer(b)
	for name, at := range map[string]uintptr{
		"the first byte of bytes":   uintptr(unsafe.Pointer(&b[0])),
		"the last byte of bytes":    uintptr(unsafe.Pointer(&b[len(b)-1])),
		"the first of some structs": uintptr(unsafe.Pointer(&entries[:1][0])),
		"the last of some structs":  uintptr(unsafe.Pointer(&entries[:cap(entries)][cap(entries)-1])),
	} {
		if flags := flagsOf(t, at); !strings.Contains(" "+flags+" ", " hg ") {
			t.Errorf("%s: the kernel has %q, without hg", name, flags)
		}
	}
	runtime.KeepAlive(b)
	runtime.KeepAlive(entries)
}

func TestPreferNothing(t *testing.T) {
	largepages.Prefer[byte](nil)
	largepages.Prefer(make([]struct{}, 10))
	b := []byte("some bytes in the middle of others")
	largepages.Prefer(b)
	if string(b) != "some bytes in the middle of others" {
		t.Errorf("%q", b)
	}
}

// flagsOf are those of the mapping with an address.
func flagsOf(t *testing.T, at uintptr) string {
	t.Helper()
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		t.Skip("the kernel does not tell: ", err)
	}
	defer f.Close()
	found := false
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var from, to uintptr
		if n, _ := fmt.Sscanf(lines.Text(), "%x-%x ", &from, &to); n == 2 {
			found = at >= from && at < to
		} else if flags, ok := strings.CutPrefix(lines.Text(), "VmFlags:"); ok && found {
			return strings.TrimSpace(flags)
		}
	}
	t.Fatalf("no mapping has %#x", at)
	return ""
}
