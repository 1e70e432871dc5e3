package lambdafn

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/aws/aws-lambda-go/lambda/messages"
)

type named struct{}

func (named) Error() string     { return "denied" }
func (named) ErrorType() string { return "access-denied" }

func TestHandlerNamesFailures(t *testing.T) {
	plain := errors.New("plain")
	tests := []struct {
		name string
		err  error
		want messages.InvokeResponse_Error // empty: the error as it is
	}{
		{"named", named{}, messages.InvokeResponse_Error{Message: "denied", Type: "access-denied"}},
		{"wrapped", fmt.Errorf("image: %w", named{}),
			messages.InvokeResponse_Error{Message: "image: denied", Type: "access-denied"}},
		{"plain", plain, messages.InvokeResponse_Error{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Handler(func(context.Context, []byte) (int, error) { return 0, tt.err }).Invoke(t.Context(), nil)
			var got messages.InvokeResponse_Error
			if errors.As(err, &got) != (tt.want.Type != "") || got.Type != tt.want.Type ||
				got.Message != tt.want.Message {
				t.Errorf("the error is %#v, want %#v", err, tt.want)
			}
			if tt.want.Type == "" && err != tt.err {
				t.Errorf("the error is %v, want %v", err, tt.err)
			}
		})
	}
}
