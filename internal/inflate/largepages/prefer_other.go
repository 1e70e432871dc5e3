//go:build !linux

package largepages

func prefer(_, _ uintptr) {}
