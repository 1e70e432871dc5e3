// Package messages has the messages of the functions' log lines by which
// others find what was decided on an image: the command line, which waits for
// them, and the queries in docs/logs.md.
package messages

// The messages that say what was decided on an event, or on an image.
const (
	PassedOn    = "image passed on"
	NotChosen   = "image not chosen"
	Untagged    = "untagged image left alone"
	OwnArtifact = "own artifact left alone"
	Referrer    = "referrer left alone"
	EventFailed = "event failed"
	HandedOver  = "image handed over"
	Finished    = "image finished"
	Gone        = "image gone"
	Failed      = "image failed"
)

// Decisions returns all of them.
func Decisions() []string {
	return []string{PassedOn, NotChosen, Untagged, OwnArtifact, Referrer, EventFailed, HandedOver, Finished, Gone,
		Failed}
}
