package metrics

import (
	"os"
	"strconv"
	"strings"
)

// MostMemory returns the most memory that the process has had so far, in bytes,
// as Linux counts it (VmHWM); elsewhere ok is false.
func MostMemory() (bytes int64, ok bool) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, false
	}
	return peakOf(string(status))
}

func peakOf(status string) (bytes int64, ok bool) {
	for line := range strings.Lines(status) {
		value, found := strings.CutPrefix(line, "VmHWM:")
		if !found {
			continue
		}
		number, found := strings.CutSuffix(strings.TrimSpace(value), " kB")
		n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
		return n * 1024, found && err == nil
	}
	return 0, false
}
