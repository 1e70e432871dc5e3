package soci

import (
	"errors"
	"sync"
	"testing"
)

func TestMemoryAlone(t *testing.T) {
	m := newMemory(100)
	a := m.enter(0, func() { t.Error("cancelled") })
	if err := errors.Join(a.take(60), a.take(40)); err != nil {
		t.Fatal(err)
	}
	if err := a.take(1); !errors.Is(err, ErrLimit) {
		t.Errorf("beyond the budget: %v", err)
	}
	a.leave()
	b := m.enter(1, func() {})
	if err := b.take(101); !errors.Is(err, ErrLimit) {
		t.Errorf("beyond the budget, alone: %v", err)
	}
	if err := b.take(100); err != nil {
		t.Error(err)
	}
}

// The younger one makes way, whichever of the two asks.
func TestMemoryYoungerMakesWay(t *testing.T) {
	m := newMemory(100)
	cancelled := make(chan bool, 1)
	young := m.enter(2, func() { cancelled <- true })
	old := m.enter(1, func() { t.Error("the oldest was cancelled") })
	if err := errors.Join(young.take(50), old.take(40)); err != nil {
		t.Fatal(err)
	}
	if err := young.take(20); err != errPreempted {
		t.Errorf("the younger one: %v", err)
	}
	if err := young.take(1); err != errPreempted {
		t.Errorf("the younger one, again: %v", err)
	}
	young.leave()

	young = m.enter(2, func() { cancelled <- true })
	if err := young.take(50); err != nil {
		t.Fatal(err)
	}
	before := m.departures()
	go func() {
		<-cancelled
		young.leave()
	}()
	if err := old.take(60); err != nil { // waits for the younger one to leave
		t.Errorf("the oldest: %v", err)
	}
	if m.departures() != before {
		t.Error("being preempted counts as leaving for good")
	}
	done := make(chan bool)
	go func() {
		m.awaitDeparture(before)
		close(done)
	}()
	old.leave()
	<-done
}

// All get the memory that they ask for in the end, and the budget is never
// exceeded.
func TestMemoryProgress(t *testing.T) {
	const max, tenants, steps = 1000, 8, 40
	m := newMemory(max)
	var wg sync.WaitGroup
	for age := range tenants {
		wg.Go(func() {
			for {
				departures := m.departures()
				stop := make(chan bool, 1)
				tn := m.enter(age, func() { stop <- true })
				err := func() error {
					for range steps {
						if err := tn.take(max / steps); err != nil {
							return err
						}
						m.mu.Lock()
						if m.used > max {
							t.Errorf("%d taken of %d", m.used, max)
						}
						m.mu.Unlock()
						select {
						case <-stop:
							return errPreempted
						default:
						}
					}
					return nil
				}()
				tn.leave()
				if err == nil {
					return
				}
				if err != errPreempted {
					t.Error(err)
					return
				}
				m.awaitDeparture(departures)
			}
		})
	}
	wg.Wait()
	if m.used != 0 || m.departures() != tenants {
		t.Errorf("%d taken, %d departures", m.used, m.departures())
	}
}
