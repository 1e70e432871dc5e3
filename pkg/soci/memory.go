package soci

import (
	"errors"
	"runtime"
	"sync"
)

// errPreempted ends the work on a layer when it lacks memory that an older one
// needs or holds; the layer is begun again later.
var errPreempted = errors.New("internal error: preempted")

// memory is the budget of one build. The layers being worked on are its
// tenants, by age: the oldest may always go on, taking from the youngest, so
// that two half-built layers never wait for each other.
type memory struct {
	max  int64
	kept int64 // of the limit, beside max: what an image's path tables may take

	mu       sync.Mutex
	changed  sync.Cond // a tenant left, or returned what was lent
	used     int64
	later    int64     // of it, what is held only once the layer is decoded
	lent     int64     // beside it, to tenants that can do without
	lends    bool      // as long as no tenant was in the way of itself
	tenants  []*tenant // the oldest first
	departed int       // how many have left for good
	garbage  int64     // bytes of zTOCs whose tenants have left since the last collection
}

// collectFrom is how many bytes finished zTOCs may leave behind until they are
// collected. The collector by itself comes when the heap has doubled: buffers of
// 30 MiB have as much garbage beside them, which in an image of many layers finished
// zTOCs add up to. A collection takes some milliseconds, and the layers behind so
// much garbage hundreds.
const collectFrom = 8 << 20 // 8 MiB

func newMemory(max int64) *memory {
	m := &memory{max: max, lends: true}
	m.changed.L = &m.mu
	return m
}

// tenant is the share of a layer that is being worked on.
type tenant struct {
	memory    *memory
	age       int
	cancel    func() // stops the work, which must then leave; nil when it cannot begin again
	used      int64
	later     int64
	ztoc      int64 // of used, for the zTOC, in both forms
	preempted bool
	lent      int64
	press     func() // asks for what is lent
}

// enter adds a tenant; the lower its age number, the older it is. cancel is
// called at most once, when an older tenant needs the memory; it is nil for one
// that has the budget alone and cannot begin again.
func (m *memory) enter(age int, cancel func()) *tenant {
	t := &tenant{memory: m, age: age, cancel: cancel}
	m.mu.Lock()
	defer m.mu.Unlock()
	i := 0
	for i < len(m.tenants) && m.tenants[i].age < age {
		i++
	}
	m.tenants = append(m.tenants, nil)
	copy(m.tenants[i+1:], m.tenants[i:])
	m.tenants[i] = t
	return t
}

// take accounts for n bytes more. The error is ErrLimit when the tenant would
// exceed the budget by itself, and errPreempted when it must make way.
func (t *tenant) take(n int64) error { return t.takeFor(n, 0) }

// takeFor is take for n bytes, of which those of later are held only once
// nothing is lent to the tenant any more. Bytes of which some are held later are
// those of the zTOC.
func (t *tenant) takeFor(n, later int64) error {
	m := t.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	for {
		switch {
		case t.preempted:
			return errPreempted
		case m.used+n <= m.max && (m.held()+n-later <= m.max || t.cancel == nil):
			m.used += n
			t.used += n
			m.later += later
			t.later += later
			if later > 0 {
				t.ztoc += n
			}
			m.recall()
			return nil
		case m.tenants[0] != t:
			t.preempted = true
			return errPreempted
		case len(m.tenants) == 1 && m.used+n <= m.max:
			// It lacks what was lent to its own work: again, without lending.
			m.lends = false
			t.preempted = true
			return errPreempted
		case len(m.tenants) == 1:
			return &MemoryError{Max: m.max + m.kept}
		}
		if youngest := m.tenants[len(m.tenants)-1]; !youngest.preempted {
			youngest.preempted = true
			youngest.cancel()
		}
		m.changed.Wait()
	}
}

// borrow takes n bytes that press asks for when a tenant needs them: they never
// keep one from taking. It reports whether n bytes are free. press
// is called with the budget locked, at most once from then on.
func (t *tenant) borrow(n int64, press func()) bool {
	m := t.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	if t.preempted || !m.lends || m.used+m.lent+n > m.max-m.reserve() {
		return false
	}
	m.lent += n
	t.lent += n
	t.press = press
	return true
}

// giveBack returns borrowed bytes.
func (t *tenant) giveBack(n int64) {
	m := t.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lent -= n
	t.lent -= n
	m.changed.Broadcast()
}

// held is what there may be in memory now, which never exceeds the budget.
func (m *memory) held() int64 { return m.used - m.later + m.lent }

// mayBorrow reports whether n bytes that are lent for as long as a layer is
// decoded will not be in its way: of what it takes meanwhile half is for later,
// so that a half of what is free now will cover them.
func (t *tenant) mayBorrow(n int64) bool {
	m := t.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	return 2*n <= m.max-m.used
}

// settle is called when the layer is decoded and nothing is lent to the tenant
// any more: what it took for later may be held from then on.
func (t *tenant) settle() error { return t.takeFor(0, -t.later) }

// reserve is what is not lent, so that borrowed bytes come back before the
// budget is used up.
func (m *memory) reserve() int64 { return m.max / 16 }

// recall asks for what is lent where it may be needed soon, from the youngest
// tenant first.
func (m *memory) recall() {
	left := m.lent
	for i := len(m.tenants) - 1; i >= 0 && m.used+left > m.max-m.reserve()/2; i-- {
		t := m.tenants[i]
		if t.lent > 0 && t.press != nil {
			t.press()
			t.press = nil
		}
		left -= t.lent
	}
}

// leave gives back all that was taken.
func (t *tenant) leave() {
	if t.left() {
		runtime.GC()
	}
}

// left is leave, and reports whether garbage is to be collected.
func (t *tenant) left() (collect bool) {
	m := t.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	m.garbage += t.ztoc
	if collect = m.garbage >= collectFrom; collect {
		m.garbage = 0
	}
	m.used -= t.used
	m.later -= t.later
	t.used, t.later, t.ztoc = 0, 0, 0
	for i, other := range m.tenants {
		if other == t {
			m.tenants = append(m.tenants[:i], m.tenants[i+1:]...)
			break
		}
	}
	if !t.preempted {
		m.departed++
	}
	m.changed.Broadcast()
	return collect
}

// awaitDeparture waits until more than since tenants have left for good, or
// none is there: then it is worth trying again.
func (m *memory) awaitDeparture(since int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for m.departed <= since && len(m.tenants) > 0 {
		m.changed.Wait()
	}
}

// departures counts the tenants that have left for good.
func (m *memory) departures() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.departed
}
