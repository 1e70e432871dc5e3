package stack

import (
	"bufio"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/aws/jsii-runtime-go"
)

// jsii has variables that keep it quiet, but reads the environment before any
// code of a program that imports it runs. So its remarks are left out on their
// way to the screen.
var (
	silence sync.Once
	flush   = func() {}
)

// filterStderr puts a filter in front of os.Stderr, for as long as the process
// lives. Without a pipe everything is shown.
func filterStderr() {
	r, w, err := os.Pipe()
	if err != nil {
		return
	}
	screen := os.Stderr
	os.Stderr = w
	// A line that no one else writes shows that the lines before it have
	// arrived.
	const mark = "\x00"
	passed := make(chan struct{})
	go func() {
		in := bufio.NewReader(r)
		for {
			line, err := in.ReadString('\n')
			if strings.HasSuffix(line, mark+"\n") {
				line = strings.TrimSuffix(line, mark+"\n")
				io.WriteString(screen, audible(line))
				passed <- struct{}{}
				continue
			}
			io.WriteString(screen, audible(line))
			if err != nil {
				return
			}
		}
	}()
	flush = func() {
		io.WriteString(w, mark+"\n")
		<-passed
	}
}

// audible returns the line, or nothing when it is one of jsii's remarks.
func audible(line string) string {
	switch {
	case strings.HasPrefix(line, "!!"):
		return "" // the frame around a remark on the version of Node.js
	case strings.HasPrefix(line, "Runtime process exited abnormally: waitid: no child processes"):
		// The process is waited for twice, and the second wait says so, without a
		// line break.
		return strings.TrimPrefix(line, "Runtime process exited abnormally: waitid: no child processes")
	}
	return line
}

// Close ends the process of Node.js behind all apps of this process, and waits
// until what was written to os.Stderr is on the screen.
func Close() {
	jsii.Close()
	flush()
}
