package guided_test

import (
	"strings"
	"sync"
	"testing"
	"time"
)

// watched is a screen on which a test waits for text.
type watched struct {
	seen chan struct{}

	mu   sync.Mutex
	text string // that was not waited for yet
}

func (w *watched) Write(b []byte) (int, error) {
	w.mu.Lock()
	w.text += string(b)
	w.mu.Unlock()
	select {
	case w.seen <- struct{}{}:
	default:
	}
	return len(b), nil
}

// wait returns when the text is on the screen, behind all that was waited for.
func (w *watched) wait(t *testing.T, text string) {
	t.Helper()
	late := time.After(30 * time.Second)
	for {
		w.mu.Lock()
		_, after, ok := strings.Cut(w.text, text)
		if ok {
			w.text = after
		}
		screen := w.text
		w.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-w.seen:
		case <-late:
			t.Fatalf("the screen does not show %q: %q", text, screen)
		}
	}
}
