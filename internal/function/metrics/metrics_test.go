package metrics

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"runtime"
	"testing"
	"time"

	"soci-index-builder/internal/testkit/emfcheck"
)

func TestEmit(t *testing.T) {
	var out bytes.Buffer
	e := New(&out, "my-stack", func() time.Time { return time.UnixMilli(1574109732004) })
	var i Invocation
	i.Set("Repository", "app")
	i.Set("Tag", "")
	i.Set("ByReason", map[string]int{"zstd": 2})
	i.Add("Duration", Seconds, 1.5)
	i.Add("Layers", Count, 1)
	i.Add("Layers", Count, 2)
	i.AddBy("Reason", "untagged", "Skipped", Count, 1)
	i.AddBy("Class", "permanent", "Failed", Count, 1)
	if err := e.Emit(&i); err != nil {
		t.Fatal(err)
	}
	if err := emfcheck.Line(out.Bytes()); err != nil {
		t.Errorf("%v\n%s", err, &out)
	}
	if n := bytes.Count(out.Bytes(), []byte("\n")); n != 1 || out.Bytes()[out.Len()-1] != '\n' {
		t.Errorf("it is not one line: %q", &out)
	}
	var got, want any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(`{"_aws":{"Timestamp":1574109732004,"CloudWatchMetrics":[
		{"Namespace":"SociIndexBuilder","Dimensions":[["StackName"]],"Metrics":[
			{"Name":"Duration","Unit":"Seconds"},{"Name":"Layers","Unit":"Count"},{"Name":"Skipped","Unit":"Count"},{"Name":"Failed","Unit":"Count"}]},
		{"Namespace":"SociIndexBuilder","Dimensions":[["StackName","Reason"]],"Metrics":[{"Name":"Skipped","Unit":"Count"}]},
		{"Namespace":"SociIndexBuilder","Dimensions":[["StackName","Class"]],"Metrics":[{"Name":"Failed","Unit":"Count"}]}]},
		"StackName":"my-stack","Reason":"untagged","Class":"permanent","Repository":"app","ByReason":{"zstd":2},
		"Duration":1.5,"Layers":2,"Skipped":1,"Failed":1}`), &want); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("emitted\n%v, want\n%v", got, want)
	}
}

type broken struct{ err error }

func (b broken) Write([]byte) (int, error) { return 0, b.err }

func TestEmitFails(t *testing.T) {
	why := errors.New("no space")
	if err := New(broken{why}, "s", time.Now).Emit(&Invocation{}); !errors.Is(err, why) {
		t.Errorf("Emit = %v, want %v", err, why)
	}
}

func TestPeakOf(t *testing.T) {
	tests := []struct {
		name, status string
		want         int64
		ok           bool
	}{
		{"as Linux has it", "Name:\tbootstrap\nVmPeak:\t  99 kB\nVmHWM:\t   12345 kB\nVmRSS:\t 1 kB\n", 12345 * 1024,
			true},
		{"not there", "Name:\tbootstrap\n", 0, false},
		{"another unit", "VmHWM:\t 12 MB\n", 0, false},
		{"no number", "VmHWM:\t kB\n", 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := peakOf(tt.status)
			if ok != tt.ok || ok && got != tt.want {
				t.Errorf("peakOf = %d, %t, want %d, %t", got, ok, tt.want, tt.ok)
			}
		})
	}
}

func TestMostMemory(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("Linux alone counts it")
	}
	before, ok := MostMemory()
	if !ok || before < 1<<20 {
		t.Fatalf("MostMemory = %d, %t", before, ok)
	}
	ballast := make([]byte, 2*before)
	for i := 0; i < len(ballast); i += os.Getpagesize() {
		ballast[i] = 1
	}
	after, _ := MostMemory()
	runtime.KeepAlive(ballast)
	if after < 2*before {
		t.Errorf("after %d bytes more it is %d, before it was %d", len(ballast), after, before)
	}
}
