package fanout

// The numbers that the documentation calculates with.
const (
	DocAtOnce = docAtOnce
	DocMemory = docMemory
)
