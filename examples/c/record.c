/* Records audio and video into a file, with a pause of one second.
 *
 *   cc record.c -o record -I../../include $(pkg-config --cflags --libs gstreamer-1.0)
 *   ./record take.webm [MIME-TYPE]
 *
 * (-I../../include is only needed until the header is installed.)
 */

#include <gst/mediarecorder.h>

typedef struct
{
  GMainLoop *loop;
  GstElement *recorder;
  gboolean failed;
} App;

/* An action's error is only returned: the application decides how to handle it. */
static void
act (App * app, gboolean (*action) (GstElement *, GError **))
{
  GError *error = NULL;

  if (action (app->recorder, &error))
    return;
  if (g_error_matches (error, GST_MEDIA_RECORDER_ERROR, GST_MEDIA_RECORDER_ERROR_NOT_SUPPORTED))
    g_printerr ("Not possible here: %s\n", error->message);
  else
    g_printerr ("Failed: %s\n", error->message);
  g_error_free (error);
  app->failed = TRUE;
  g_main_loop_quit (app->loop);
}

static gboolean
on_pause_time (gpointer app)
{
  act (app, gst_media_recorder_pause);
  return G_SOURCE_REMOVE;
}

static gboolean
on_resume_time (gpointer app)
{
  act (app, gst_media_recorder_resume);
  return G_SOURCE_REMOVE;
}

static gboolean
on_stop_time (gpointer app)
{
  act (app, gst_media_recorder_stop);
  return G_SOURCE_REMOVE;
}

/* Every event of the recorder is a message, so all of this happens in the main thread. */
static gboolean
on_message (GstBus * bus, GstMessage * message, gpointer data)
{
  App *app = data;
  const GstStructure *structure = gst_message_get_structure (message);
  GError *error = NULL;

  (void) bus;
  if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_ERROR) {
    gst_message_parse_error (message, &error, NULL);
    g_printerr ("The pipeline failed: %s\n", error->message);
    g_error_free (error);
    app->failed = TRUE;
    g_main_loop_quit (app->loop);
  } else if (gst_message_has_name (message, "mediarecorder-start")) {
    g_print ("Recording %s\n", gst_structure_get_string (structure, "mime-type"));
    g_timeout_add (1000, on_pause_time, app);
    g_timeout_add (2000, on_resume_time, app);
    g_timeout_add (3000, on_stop_time, app);
  } else if (gst_message_has_name (message, "mediarecorder-pause")) {
    g_print ("Paused\n");
  } else if (gst_message_has_name (message, "mediarecorder-resume")) {
    g_print ("Going on\n");
  } else if (gst_message_has_name (message, "mediarecorder-error")) {
    /* What was recorded so far is still saved: mediarecorder-stop follows. */
    gst_structure_get (structure, "error", G_TYPE_ERROR, &error, NULL);
    g_printerr ("Recording failed: %s\n", error->message);
    g_error_free (error);
    app->failed = TRUE;
  } else if (gst_message_has_name (message, "mediarecorder-stop")) {
    guint64 size = 0, duration = 0;

    gst_structure_get (structure, "size", G_TYPE_UINT64, &size,
        "duration", G_TYPE_UINT64, &duration, NULL);
    g_print ("Saved %" G_GUINT64_FORMAT " bytes, %" GST_TIME_FORMAT "\n", size,
        GST_TIME_ARGS (duration));
    g_main_loop_quit (app->loop);
  }
  return G_SOURCE_CONTINUE;
}

int
main (int argc, char **argv)
{
  App app = { NULL, NULL, FALSE };
  GstElement *pipeline;
  GstBus *bus;
  GError *error = NULL;

  gst_init (&argc, &argv);
  if (argc < 2 || argc > 3) {
    g_printerr ("Usage: %s FILE [MIME-TYPE]\n", argv[0]);
    return 2;
  }
  pipeline = gst_parse_launch ("audiotestsrc is-live=true ! rec.audio_0 "
      "videotestsrc is-live=true ! rec.video_0 mediarecorder name=rec", &error);
  if (error != NULL) {
    g_printerr ("%s\n", error->message);
    return 1;
  }
  app.loop = g_main_loop_new (NULL, FALSE);
  app.recorder = gst_bin_get_by_name (GST_BIN (pipeline), "rec");
  g_object_set (app.recorder, "location", argv[1], NULL);
  if (argc > 2)
    g_object_set (app.recorder, "mime-type", argv[2], NULL);
  bus = gst_element_get_bus (pipeline);
  gst_bus_add_watch (bus, on_message, &app);

  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  gst_element_get_state (pipeline, NULL, NULL, 5 * GST_SECOND);
  act (&app, gst_media_recorder_start);
  if (!app.failed)
    g_main_loop_run (app.loop);

  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_bus_remove_watch (bus);
  gst_object_unref (bus);
  gst_object_unref (app.recorder);
  gst_object_unref (pipeline);
  g_main_loop_unref (app.loop);
  return app.failed;
}
