package main

import (
	"io"

	"github.com/spf13/cobra"
)

// noteHelpFailure has the help of all commands checked: cobra does not say that it
// could not be written. It returns where the first error will be.
func noteHelpFailure(root *cobra.Command) *error {
	failure := new(error)
	show := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		out := cmd.OutOrStdout()
		w := &failingWriter{Writer: out}
		cmd.SetOut(w)
		show(cmd, args)
		cmd.SetOut(out)
		if *failure == nil {
			*failure = w.err
		}
	})
	return failure
}

// failingWriter remembers its first error.
type failingWriter struct {
	io.Writer
	err error
}

func (w *failingWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	if w.err == nil {
		w.err = err
	}
	return n, err
}
