package soci

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"soci-index-builder/internal/testkit/expect"
)

// No more processors are taken than there are.
func TestIdleProcessors(t *testing.T) {
	all := newProcessors().max
	for layers := range all + 2 {
		p := newProcessors()
		for range layers {
			if err := p.enter(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		idle := 0
		for idle <= all && p.try() {
			idle++
		}
		if idle != max(all-layers, 0) {
			t.Errorf("%d layers have %d, and %d were taken", layers, all, idle)
		}
	}
}

// A layer that begins waits for a piece to end, and comes before other pieces.
func TestLayerWaitsForPiece(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := processorsOf(3)
		enter := func(ctx context.Context) chan error {
			entered := make(chan error, 1)
			go func() { entered <- p.enter(ctx) }()
			synctest.Wait()
			return entered
		}
		is := func(what string, entered chan error, there bool, want error) {
			t.Helper()
			synctest.Wait()
			select {
			case err := <-entered:
				if !there || !errors.Is(err, want) {
					t.Errorf("%s: it ends with %v", what, err)
				}
			default:
				if there {
					t.Errorf("%s: it waits", what)
				}
			}
		}
		is("the first", enter(t.Context()), true, nil)
		for n := range 3 {
			if got := p.try(); got != (n < 2) {
				t.Fatalf("with %d pieces: %t", n, got)
			}
		}
		second, third := enter(t.Context()), enter(t.Context())
		ctx, cancel := context.WithCancel(t.Context())
		cancelled := enter(ctx)
		is("without an idle one", second, false, nil)
		cancel()
		is("cancelled", cancelled, true, context.Canceled)
		p.give()
		if p.try() {
			t.Error("another piece comes before a layer")
		}
		synctest.Wait()
		if p.layers != 2 || p.pieces != 1 || p.waiting != 1 {
			t.Errorf("behind a piece there are %d layers, %d pieces, %d that wait", p.layers, p.pieces, p.waiting)
		}
		p.give()
		is("the second", second, true, nil)
		is("the third", third, true, nil)
		is("more layers than processors", enter(t.Context()), true, nil)
		if p.try() {
			t.Error("a piece beside more layers than processors")
		}
		for range 4 {
			p.leave()
		}
		expect.Equal(t, expect.Facts{
			{"layers", p.layers, 0},
			{"pieces", p.pieces, 0},
			{"waiting", p.waiting, 0},
			{"most", p.most, 3},
			{"waited", p.waited, 3},
			{"begun", p.begun, 2},
		}, "at the end")
	})
}
