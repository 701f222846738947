package volume

// The API, to be kept. It is what client, master and cmd are written against.
//
//	type Options struct {
//		Dirs    []string            // one a disk
//		OpenFS  func(dir string) (disk.FS, error) // default disk.OS
//		Cluster granary.ClusterID   // "" to take whatever the disks say, or join one later
//		ReserveBytes uint64         // kept free on every disk; default 64 MiB
//		Log     *slog.Logger
//	}
//	func Open(o Options) (*Store, error)   // formats empty directories, locks each
//	func (s *Store) ServerID() granary.ServerID
//	func (s *Store) Cluster() granary.ClusterID
//	func (s *Store) JoinCluster(id granary.ClusterID) error    // writes the identity files; refuses another cluster's
//	func (s *Store) Append(ctx context.Context, a *granary.Append) error
//	func (s *Store) ReadAt(ctx context.Context, ref granary.ShardRef, p []byte, off int64) (n int, length uint64, err error)
//	func (s *Store) Seal(ctx context.Context, ref granary.ShardRef, epoch granary.Epoch, length uint64) error
//	func (s *Store) Drop(ctx context.Context, ref granary.ShardRef, epoch granary.Epoch) error
//	func (s *Store) List(disk granary.DiskID) ([]granary.ShardInfo, error)
//	func (s *Store) Usage() []granary.DiskUsage
//	func (s *Store) Close() error
//
//	func NewHandler(s *Store) http.Handler                     // the block service over HTTP/1.1
//	type Client struct{…}                                      // the same over HTTP, by address
//	func NewClient(...) *Client
//	func (c *Client) Append(ctx, addr string, a *granary.Append) error
//	func (c *Client) ReadAt(ctx, addr string, ref granary.ShardRef, p []byte, off int64) (n int, length uint64, err error)
//	func (c *Client) Seal(ctx, addr string, ref granary.ShardRef, epoch granary.Epoch, length uint64) error
//	func (c *Client) Drop(ctx, addr string, ref granary.ShardRef, epoch granary.Epoch) error
//	func (c *Client) List(ctx, addr string, disk granary.DiskID) ([]granary.ShardInfo, error)
//	func (c *Client) Attach(addr string, s *Store)             // calls to addr become plain function calls
//
//	// Heartbeats runs until ctx ends: every second, and at once when a disk fails, it tells every master in masters.
//	type Master interface { Heartbeat(ctx context.Context, hb *granary.Heartbeat) (*granary.HeartbeatReply, error) }
//	func (s *Store) Heartbeats(ctx context.Context, addr, zone, rack string, masters []Master) error
