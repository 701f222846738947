// Package notify delivers what happens to the objects of buckets to others: it makes S3's events of the masters' change log, and hands
// them to webhooks, NATS, Kafka and Redis.
//
// A target is an endpoint that an administrator has named (Service.AddTarget). The notification configuration of a bucket names
// targets by their ARN, arn:granary:sqs::NAME:TYPE, and says which events of which keys go there. Filers deliver (Runner): of those that
// run one at a time for a bucket, which holds a lock on the bucket's hidden directory. For each target of the bucket it reads the change log
// from a cursor on, which is kept with the bucket. There is no queue but the log: a target that is down costs no memory, and what waits for it
// is kept for as long as the log keeps it.
//
// Because the log is what is read, a change is an event whatever door it came through. What follows from that:
//
//   - Rules are those that are in force when a change is read, not when it was made. So are the names of directories in keys.
//   - A file that is written through a mount is an event when it is made, and another for each time that content is committed; of those that
//     follow each other in one answer of the log the last is told.
//   - A directory that is renamed is told as the objects that are below it when that is read, each removed and created; one that is removed
//     with all that is in it as one removal, of the key "directory/".
//   - Changes of directories and symbolic links that are no objects are no events.
//
// # Invariants
//
//  1. A cursor moves only over changes whose events the target has acknowledged, or that no rule wants. So every change that the log keeps is
//     delivered at least once, whoever dies (TestEveryChangeArrives, TestE2ENotifications).
//  2. Events of a key go to a target in the order of the changes; what is repeated after a failure is repeated in that order, too
//     (TestEveryChangeArrives, TestWebhookKeepsOrder). The sequencer of an event grows with the history, and is the same when it is repeated.
//  3. What the log does not keep any more when it is read is lost, and that is told: in the log, in the metrics, and in the cursor, which
//     Service.Status shows (TestMissedChangesAreTold).
//  4. A configuration is one record. The cursors of the targets that it names first are set before it is stored, so that what is changed after
//     it was answered is delivered (TestConfigure).
//  5. The memory for a target of a bucket is that of one answer of the log and of batchMax events.
//
// # Format
//
// Extended attributes of the hidden directory of the root dataset (granary.RootDataset.System), in JSON:
//
//	granary.notify.target.NAME       Target
//	granary.notify.bucket.INODE      Configuration of the bucket whose root is INODE, in 16 hexadecimal digits
//
// and of the hidden directory of a bucket:
//
//	granary.notify.cursor.NAME       Cursor of the target NAME
//
// Changes of hidden directories are not in the change log, so that no cursor runs after itself.
package notify
