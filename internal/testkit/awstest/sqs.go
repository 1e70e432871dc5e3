package awstest

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The limits of a queue.
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
const (
	maxVisibility = 12 * time.Hour // from the receipt on
	maxBatch      = 10
	maxMessage    = 256 << 10 // 256 KiB, what every queue takes
)

// SQS is one standard queue, for [Server.Handle] under "sqs". As the real one
// it is spread over several servers: a short poll asks one of them, and can
// come back without a message that is there; a long poll asks all. It does not
// wait for messages, though.
type SQS struct {
	// URL is the queue's; a request for another is answered that there is no
	// such queue.
	URL string

	// InFlight is how many messages may be received and not deleted at once.
	InFlight int

	// Visibility is the queue's own timeout, for receivers that name none.
	Visibility time.Duration

	now func() time.Time

	mu       sync.Mutex
	messages []*sqsMessage
	made     int // messages so far
	polls    int
	twice    map[string]bool // ids to be delivered although they are in flight
	faults   []*entryFault
}

type sqsMessage struct {
	id         string
	server     int
	body       string
	attributes map[string]string
	sent       time.Time
	first      time.Time // received
	visible    time.Time // from then on
	received   int
	handle     string // of the last receipt
}

type entryFault struct {
	operation, code string
	times           int
}

// NewSQS returns an empty queue whose time is now().
func NewSQS(now func() time.Time) *SQS {
	return &SQS{
		URL:      "https://sqs." + Region + ".amazonaws.com/" + Account + "/failures",
		InFlight: 120_000, Visibility: 30 * time.Second,
		now: now, twice: map[string]bool{},
	}
}

// Put adds a message with string attributes and returns its id.
func (q *SQS) Put(body string, attributes map[string]string) string {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.put(body, attributes)
}

func (q *SQS) put(body string, attributes map[string]string) string {
	q.made++
	id := fmt.Sprintf("%08x-0000-4000-8000-%012x", q.made, q.made)
	q.messages = append(q.messages,
		&sqsMessage{id: id, server: q.made % 2, body: body, attributes: attributes, sent: q.now()})
	return id
}

// IDs returns the ids of all messages that are not deleted, in flight or not.
func (q *SQS) IDs() []string { return q.ids(func(*sqsMessage) bool { return true }) }

// Bodies returns what the messages hold, in the order of their arrival.
func (q *SQS) Bodies() []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	bodies := make([]string, len(q.messages))
	for i, m := range q.messages {
		bodies[i] = m.body
	}
	return bodies
}

// Visible returns the ids of the messages that a receiver would get.
func (q *SQS) Visible() []string {
	return q.ids(func(m *sqsMessage) bool { return !m.visible.After(q.now()) })
}

func (q *SQS) ids(chosen func(*sqsMessage) bool) []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	ids := []string{}
	for _, m := range q.messages {
		if chosen(m) {
			ids = append(ids, m.id)
		}
	}
	return ids
}

// DeliverTwice has the next receiver get a message although another one has
// it, as standard queues do at times.
func (q *SQS) DeliverTwice(id string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.twice[id] = true
}

// FailEntries has the next entries of a batch operation fail with code, the
// rest of their batch not.
func (q *SQS) FailEntries(operation string, times int, code string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.faults = append(q.faults, &entryFault{operation, code, times})
}

func (q *SQS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q.mu.Lock()
	defer q.mu.Unlock()
	JSON(map[string]func([]byte) (any, error){
		"SendMessage":                  sqsOperation(q, q.send),
		"ReceiveMessage":               sqsOperation(q, q.receive),
		"DeleteMessage":                sqsOperation(q, q.delete),
		"DeleteMessageBatch":           sqsOperation(q, q.deleteBatch),
		"ChangeMessageVisibility":      sqsOperation(q, q.change),
		"ChangeMessageVisibilityBatch": sqsOperation(q, q.changeBatch),
		"GetQueueAttributes":           sqsOperation(q, q.describe),
	}).ServeHTTP(w, r)
}

// sqsRequest has the members of all operations.
type sqsRequest struct {
	QueueUrl                    string
	MessageBody                 string
	MessageAttributes           map[string]sqsAttribute
	MaxNumberOfMessages         *int
	VisibilityTimeout           *int // seconds
	WaitTimeSeconds             int
	MessageAttributeNames       []string
	AttributeNames              []string
	MessageSystemAttributeNames []string
	ReceiptHandle               string
	Entries                     []sqsEntry
}

type sqsEntry struct {
	Id                string
	ReceiptHandle     string
	VisibilityTimeout *int
}

type sqsAttribute struct {
	DataType    string
	StringValue string
}

type (
	sqsFailed struct {
		Id, Code, Message string
		SenderFault       bool
	}
	sqsDone  struct{ Id string }
	sqsBatch struct {
		Successful []sqsDone
		Failed     []sqsFailed
	}
)

func sqsOperation(q *SQS, do func(sqsRequest) (any, error)) func([]byte) (any, error) {
	return func(body []byte) (any, error) {
		var r sqsRequest
		if err := json.Unmarshal(body, &r); err != nil {
			return nil, sqsError("InvalidParameterValue", err.Error())
		}
		if r.QueueUrl != q.URL {
			return nil, sqsError("QueueDoesNotExist", "The specified queue does not exist.")
		}
		return do(r)
	}
}

func sqsError(code, message string) *Error {
	return &Error{Status: http.StatusBadRequest, Code: code, Message: message}
}

func md5Of(s string) string {
	sum := md5.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

func (q *SQS) send(r sqsRequest) (any, error) {
	if r.MessageBody == "" || len(r.MessageBody) > maxMessage {
		return nil, sqsError("InvalidParameterValue", fmt.Sprintf("a body of %d bytes", len(r.MessageBody)))
	}
	attributes := map[string]string{}
	for name, a := range r.MessageAttributes {
		attributes[name] = a.StringValue
	}
	return map[string]string{"MessageId": q.put(r.MessageBody, attributes), "MD5OfMessageBody": md5Of(r.MessageBody)},
		nil
}

func (q *SQS) inFlight() int {
	n := 0
	for _, m := range q.messages {
		if m.visible.After(q.now()) {
			n++
		}
	}
	return n
}

func (q *SQS) receive(r sqsRequest) (any, error) {
	most := 1
	if r.MaxNumberOfMessages != nil {
		most = *r.MaxNumberOfMessages
	}
	if most < 1 || most > maxBatch {
		return nil, sqsError("InvalidParameterValue", fmt.Sprintf("MaxNumberOfMessages %d", most))
	}
	timeout, err := visibility(r.VisibilityTimeout, q.Visibility)
	if err != nil {
		return nil, err
	}
	if q.inFlight() >= q.InFlight {
		return nil, sqsError("OverLimit", "too many messages in flight")
	}
	q.polls++
	messages := []any{}
	for _, m := range q.messages {
		if len(messages) == most {
			break
		}
		if r.WaitTimeSeconds == 0 && m.server != q.polls%2 {
			continue
		}
		if m.visible.After(q.now()) {
			if !q.twice[m.id] {
				continue
			}
			delete(q.twice, m.id)
		}
		m.received++
		if m.received == 1 {
			m.first = q.now()
		}
		m.visible = q.now().Add(timeout)
		m.handle = fmt.Sprintf("%s#%d", m.id, m.received)
		messages = append(messages, q.message(m, r))
	}
	return map[string]any{"Messages": messages}, nil
}

// message is m as a receiver gets it, with the attributes that it asks for.
func (q *SQS) message(m *sqsMessage, r sqsRequest) any {
	out := map[string]any{"MessageId": m.id, "ReceiptHandle": m.handle, "Body": m.body, "MD5OfBody": md5Of(m.body)}
	system := map[string]string{}
	for name, value := range map[string]string{
		"ApproximateReceiveCount":          strconv.Itoa(m.received),
		"SentTimestamp":                    strconv.FormatInt(m.sent.UnixMilli(), 10),
		"ApproximateFirstReceiveTimestamp": strconv.FormatInt(m.first.UnixMilli(), 10),
	} {
		if names := append(slices.Clone(r.AttributeNames), r.MessageSystemAttributeNames...); slices.Contains(names,
			name) ||
			slices.Contains(names, "All") {
			system[name] = value
		}
	}
	out["Attributes"] = system
	attributes := map[string]sqsAttribute{}
	for name, value := range m.attributes {
		if slices.Contains(r.MessageAttributeNames, name) || slices.Contains(r.MessageAttributeNames, "All") {
			attributes[name] = sqsAttribute{DataType: "String", StringValue: value}
		}
	}
	out["MessageAttributes"] = attributes
	return out
}

func visibility(seconds *int, byDefault time.Duration) (time.Duration, error) {
	if seconds == nil {
		return byDefault, nil
	}
	d := time.Duration(*seconds) * time.Second
	if d < 0 || d > maxVisibility {
		return 0, sqsError("InvalidParameterValue", fmt.Sprintf("VisibilityTimeout %d", *seconds))
	}
	return d, nil
}

// find returns the message of a receipt handle, whether it is its last one, and
// an error if it was never given out.
func (q *SQS) find(handle string) (m *sqsMessage, last bool, err error) {
	id, _, ok := strings.Cut(handle, "#")
	if !ok {
		return nil, false, sqsError("ReceiptHandleIsInvalid", "The input receipt handle is invalid.")
	}
	for _, m := range q.messages {
		if m.id == id {
			return m, m.handle == handle, nil
		}
	}
	return nil, false, nil // deleted before
}

func (q *SQS) delete(r sqsRequest) (any, error) {
	m, last, err := q.find(r.ReceiptHandle)
	if err != nil {
		return nil, err
	}
	// A standard queue says that all is well even when somebody else has
	// received the message since, and keeps it.
	if last {
		q.messages = slices.DeleteFunc(q.messages, func(one *sqsMessage) bool { return one == m })
	}
	return struct{}{}, nil
}

func (q *SQS) change(r sqsRequest) (any, error) {
	timeout, err := visibility(r.VisibilityTimeout, 0)
	if err != nil {
		return nil, err
	}
	m, last, err := q.find(r.ReceiptHandle)
	if err != nil {
		return nil, err
	}
	if m == nil || !last || !m.visible.After(q.now()) {
		return nil, sqsError("MessageNotInflight", "The specified message isn't in flight.")
	}
	m.visible = q.now().Add(timeout)
	return struct{}{}, nil
}

func (q *SQS) deleteBatch(r sqsRequest) (any, error) {
	return q.batch("DeleteMessageBatch", r, func(e sqsEntry) error {
		_, err := q.delete(sqsRequest{ReceiptHandle: e.ReceiptHandle})
		return err
	})
}

func (q *SQS) changeBatch(r sqsRequest) (any, error) {
	return q.batch("ChangeMessageVisibilityBatch", r, func(e sqsEntry) error {
		_, err := q.change(sqsRequest{ReceiptHandle: e.ReceiptHandle, VisibilityTimeout: e.VisibilityTimeout})
		return err
	})
}

func (q *SQS) batch(operation string, r sqsRequest, do func(sqsEntry) error) (any, error) {
	if len(r.Entries) == 0 {
		return nil, sqsError("EmptyBatchRequest", "no entries")
	}
	if len(r.Entries) > maxBatch {
		return nil, sqsError("TooManyEntriesInBatchRequest", fmt.Sprintf("%d entries", len(r.Entries)))
	}
	seen := map[string]bool{}
	for _, e := range r.Entries {
		if seen[e.Id] || e.Id == "" {
			return nil, sqsError("BatchEntryIdsNotDistinct", e.Id)
		}
		seen[e.Id] = true
	}
	out := sqsBatch{Successful: []sqsDone{}, Failed: []sqsFailed{}}
	for _, e := range r.Entries {
		if code := q.entryFault(operation); code != "" {
			out.Failed = append(out.Failed, sqsFailed{Id: e.Id, Code: code, Message: "as the test wants it"})
			continue
		}
		if err := do(e); err != nil {
			failed := sqsFailed{Id: e.Id, Code: "InternalError", Message: err.Error()}
			if known, ok := err.(*Error); ok {
				failed.Code, failed.Message, failed.SenderFault = known.Code, known.Message, true
			}
			out.Failed = append(out.Failed, failed)
			continue
		}
		out.Successful = append(out.Successful, sqsDone{e.Id})
	}
	return out, nil
}

func (q *SQS) entryFault(operation string) string {
	for _, f := range q.faults {
		if f.operation == operation && f.times > 0 {
			f.times--
			return f.code
		}
	}
	return ""
}

func (q *SQS) describe(r sqsRequest) (any, error) {
	inFlight := q.inFlight()
	all := map[string]string{
		"ApproximateNumberOfMessages":           strconv.Itoa(len(q.messages) - inFlight),
		"ApproximateNumberOfMessagesNotVisible": strconv.Itoa(inFlight),
		"ApproximateNumberOfMessagesDelayed":    "0",
		"VisibilityTimeout":                     strconv.Itoa(int(q.Visibility / time.Second)),
	}
	attributes := map[string]string{}
	for name, value := range all {
		if slices.Contains(r.AttributeNames, name) || slices.Contains(r.AttributeNames, "All") {
			attributes[name] = value
		}
	}
	return map[string]any{"Attributes": attributes}, nil
}
