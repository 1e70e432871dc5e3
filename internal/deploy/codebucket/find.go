package codebucket

import "context"

// Find returns the name of the managed bucket, empty if there is none, without a
// look at its settings. known and the errors are as those of [Managed.Look].
func (m *Managed) Find(ctx context.Context, known string) (string, error) { return m.find(ctx, known) }
