package patience_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/smithy-go"

	"soci-index-builder/internal/deploy/patience"
)

var throttled = &smithy.OperationError{ServiceID: "CloudFormation", OperationName: "DescribeStacks",
	Err: &smithy.GenericAPIError{Code: "Throttling", Message: "Rate exceeded"}}

func TestUntil(t *testing.T) {
	other := errors.New("other")
	for _, tt := range []struct {
		name    string
		answers []error // nil at last: done
		want    error
		asked   int
	}{
		{"at once", []error{nil}, nil, 1},
		{"after throttling", []error{throttled, throttled, nil}, nil, 3},
		{"an error that stays", []error{throttled, other, nil}, other, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked := 0
			err := patience.Patience{Pause: time.Microsecond}.Until(t.Context(), func(context.Context) (bool, error) {
				asked++
				return true, tt.answers[asked-1]
			})
			if !errors.Is(err, tt.want) || asked != tt.asked {
				t.Errorf("%v after %d, want %v after %d", err, asked, tt.want, tt.asked)
			}
		})
	}
}

func TestUntilEnds(t *testing.T) {
	p := patience.Patience{Pause: time.Microsecond, Errors: time.Millisecond}
	err := p.Until(t.Context(), func(context.Context) (bool, error) { return false, throttled })
	if !errors.Is(err, throttled) {
		t.Errorf("the error is %v, want the throttling", err)
	}
	p.Limit = time.Millisecond
	err = p.Until(t.Context(), func(context.Context) (bool, error) { return false, nil })
	if !errors.Is(err, patience.ErrTooLong) {
		t.Errorf("the error is %v, want ErrTooLong", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err = patience.Patience{}.Until(ctx, func(ctx context.Context) (bool, error) { return false, ctx.Err() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v, want that of the context", err)
	}
}

// Errors that pass are borne again after each answer.
func TestBearing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := patience.Patience{Errors: time.Minute}.Bear()
		for range 5 {
			for range 4 {
				if err := b.Take(throttled); err != nil {
					t.Fatal(err)
				}
				time.Sleep(20 * time.Second)
			}
			if err := b.Take(nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Take(throttled); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute + 1)
		if err := b.Take(throttled); !errors.Is(err, throttled) {
			t.Errorf("after more than a minute of errors: %v", err)
		}
	})
}
