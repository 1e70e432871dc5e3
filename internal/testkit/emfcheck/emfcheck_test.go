package emfcheck

import (
	"fmt"
	"strings"
	"testing"
)

func TestLine(t *testing.T) {
	const directive = `{"Namespace":"N","Dimensions":[["D"]],"Metrics":[{"Name":"M","Unit":"Count"}]}`
	line := func(aws, rest string) string {
		return `{"_aws":{"Timestamp":1574109732004,"CloudWatchMetrics":[` + aws + `]},"D":"d","M":1` + rest + `}`
	}
	many := func(n int, one func(i int) string) string {
		all := make([]string, n)
		for i := range all {
			all[i] = one(i)
		}
		return strings.Join(all, ",")
	}
	metrics := func(n int) string {
		return fmt.Sprintf(`{"Namespace":"N","Dimensions":[[]],"Metrics":[%s]}`,
			many(n, func(i int) string { return fmt.Sprintf(`{"Name":"M%d"}`, i) }))
	}
	values := func(n int) string { return "," + many(n, func(i int) string { return fmt.Sprintf(`"M%d":%d`, i, i) }) }
	dimensions := func(n int) string {
		return fmt.Sprintf(`{"Namespace":"N","Dimensions":[[%s]],"Metrics":[{"Name":"M"}]}`,
			many(n, func(i int) string { return fmt.Sprintf(`"D%d"`, i) }))
	}
	dimensionValues := func(n int) string {
		return "," +
			many(n, func(i int) string { return fmt.Sprintf(`"D%d":"d"`, i) })
	}
	tests := []struct {
		name, line string
		ok         bool
	}{
		{"good", line(directive, ""), true},
		{"two directives", line(directive+","+directive, ""), true},
		{"no unit", line(`{"Namespace":"N","Dimensions":[["D"]],"Metrics":[{"Name":"M"}]}`, ""), true},
		{"several values", line(strings.Replace(directive, `"M"`, `"V"`, 1), `,"V":[1,2]`), true},
		{"100 metrics", line(metrics(100), values(100)), true},
		{"30 dimensions", line(dimensions(30), dimensionValues(30)), true},

		{"101 metrics", line(metrics(101), values(101)), false},
		{"31 dimensions", line(dimensions(31), dimensionValues(31)), false},
		{"101 values", line(strings.Replace(directive, `"M"`, `"V"`, 1),
			`,"V":[`+many(101, func(int) string { return "1" })+
				`]`), false},
		{"not JSON", "x", false},
		{"no metadata", `{"M":1}`, false},
		{"no timestamp", `{"_aws":{"CloudWatchMetrics":[` + directive + `]},"D":"d","M":1}`, false},
		{"timestamp as text", `{"_aws":{"Timestamp":"now","CloudWatchMetrics":[` + directive + `]},"D":"d","M":1}`,
			false},
		{"no directive", line("", ""), false},
		{"no namespace", line(strings.Replace(directive, `"N"`, `""`, 1), ""), false},
		{"namespace of two lines", line(strings.Replace(directive, `"N"`, `"N\nN"`, 1), ""), false},
		{"metric of two lines", line(strings.Replace(directive, `"M"`, `"M\nM"`, 1), `,"M\nM":1`), false},
		{"dimension of two lines", line(strings.Replace(directive, `"D"`, `"D\nD"`, 1), `,"D\nD":"d"`), false},
		{"namespace of 1,025 characters",
			line(strings.Replace(directive, `"N"`, `"`+strings.Repeat("n", 1025)+`"`, 1), ""),
			false},
		{"no dimension set", line(strings.Replace(directive, `["D"]`, ``, 1), ""), false},
		{"no metric", line(`{"Namespace":"N","Dimensions":[["D"]],"Metrics":[]}`, ""), false},
		{"unit unknown", line(strings.Replace(directive, "Count", "Pieces", 1), ""), false},
		{"metric not at the root", line(strings.Replace(directive, `"M"`, `"X"`, 1), ""), false},
		{"metric is a text", line(strings.Replace(directive, `"M"`, `"D"`, 1), ""), false},
		{"dimension not at the root", line(strings.Replace(directive, `"D"`, `"X"`, 1), ""), false},
		{"dimension is a number", line(strings.Replace(directive, `"D"`, `"M"`, 1), ""), false},
		{"dimension is empty", line(strings.Replace(directive, `"D"`, `"E"`, 1), `,"E":""`), false},
		{"metric twice, in two units",
			line(`{"Namespace":"N","Dimensions":[["D"]],"Metrics":[{"Name":"M","Unit":"Count"},{"Name":"M"}]}`, ""),
			false},
		{"resolution of 30 s", line(strings.Replace(directive, `"Unit"`, `"StorageResolution":30,"Unit"`, 1), ""),
			false},
		{"dimension's name begins with a colon", line(strings.Replace(directive, `"D"`, `":D"`, 1), `,":D":"d"`),
			false},
		{"metric twice", line(`{"Namespace":"N","Dimensions":[["D"]],"Metrics":[{"Name":"M"},{"Name":"M"}]}`, ""),
			false},
		{"unknown member", line(strings.Replace(directive, `"Namespace"`, `"Name":"x","Namespace"`, 1), ""), false},
		{"too large", line(directive, `,"p":"`+strings.Repeat("x", maxSize)+`"`), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := Line([]byte(tt.line)); (err == nil) != tt.ok {
				t.Errorf("Line = %v, want taken %t", err, tt.ok)
			}
		})
	}
}
