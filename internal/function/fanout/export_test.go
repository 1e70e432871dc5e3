package fanout

// What the documentation reckons with.
const (
	DocAtOnce = docAtOnce
	DocMemory = docMemory
)
