package bench

import (
	"context"
	"encoding/json"

	"soci-index-builder/internal/devtools/bench/contender"
)

// The names of what child processes do.
const (
	workContend  = "contend"
	workRegistry = "registry"
	workIndex    = "index"
	workUpstream = "upstream index"
	workNothing  = "nothing"
)

type contendIn struct {
	Contender string
	Layer     contender.Input
}

// finish makes a function a child.Finisher.
type finish func() (contender.Output, error)

func (f finish) Finish() (any, error) { return f() }

// contend lets one contender work on one layer.
func contend(_ context.Context, in json.RawMessage) (any, error) {
	var q contendIn
	if err := json.Unmarshal(in, &q); err != nil {
		return nil, err
	}
	f, err := contender.Run(q.Contender, q.Layer)
	return finish(f), err
}

// nothing shows what a process needs before it does anything.
func nothing(context.Context, json.RawMessage) (any, error) { return nil, nil }
