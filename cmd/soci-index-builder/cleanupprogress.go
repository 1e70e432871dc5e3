package main

import (
	"fmt"
	"sync"

	"github.com/spf13/cobra"

	"soci-index-builder/internal/cleanup"
)

// cleanupProgress shows which repository is looked at or deleted from, and how far
// that is.
type cleanupProgress struct {
	*activity
	repositories int

	mu        sync.Mutex
	number    int // of the repository
	name      string
	now       cleanup.Progress
	gone, all int // of the items to delete
}

func newCleanupProgress(cmd *cobra.Command, repositories int) *cleanupProgress {
	p := &cleanupProgress{repositories: repositories}
	p.activity = newActivity(cmd, p.line)
	return p
}

// next tells which repository comes.
func (p *cleanupProgress) next(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.number, p.name, p.now, p.gone, p.all = p.number+1, name, cleanup.Progress{}, 0, 0
}

func (p *cleanupProgress) show(now cleanup.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = now
}

func (p *cleanupProgress) deleted(gone, all int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone, p.all = gone, all
}

func (p *cleanupProgress) line() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := count(p.now.Manifests, "manifest") + " read"
	switch {
	case p.all > 0:
		text = fmt.Sprintf("%d of %d deleted", p.gone, p.all)
	case p.now.ToCheck > 0:
		text += fmt.Sprintf(", the zTOCs of %d of %s", p.now.Checked,
			counted(p.now.ToCheck, "SOCI index", "SOCI indexes"))
	}
	// The name comes last: it may be too long for the terminal.
	return fmt.Sprintf("%s, repository %d of %d: %s", text, p.number, p.repositories, p.name)
}
