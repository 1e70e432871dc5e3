package stacktest

import (
	"net/http"

	"soci-index-builder/internal/testkit/awstest"
)

type logsHandler struct{ a *Account }

func (h *logsHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	operations := map[string]func([]byte) (any, error){"FilterLogEvents": h.a.filterLogEvents}
	if d := h.a.Deployment(); d != nil {
		operations["DescribeLogGroups"] = func(body []byte) (any, error) {
			d.Lock()
			defer d.Unlock()
			return d.describeLogGroups(body)
		}
	}
	awstest.JSON(operations).ServeHTTP(w, r)
}
